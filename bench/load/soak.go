package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"
)

// kind is something that a client does.
type kind struct {
	name    string
	share   int    // of all that ordinary tenants do, in a thousand
	outcome string // the one that is expected
	reads   bool   // an image, which has to be there
	act     func(*tenant, *connection, *name) answer
}

// ordinary is the mix of what ordinary tenants do. One in twenty of those that send a body leaves within it.
var ordinary = []*kind{
	{"raw upload", 190, "201", false, (*tenant).raw},
	{"raw upload, broken off", 10, "broken off", false, (*tenant).rawBrokenOff},
	{"form upload", 123, "201", false, (*tenant).form},
	{"form upload, broken off", 7, "broken off", false, (*tenant).formBrokenOff},
	{"tus upload", 76, "204", false, (*tenant).resumable},
	{"tus upload, broken off and resumed", 2, "204", false, (*tenant).resumed},
	{"tus upload, broken off and terminated", 2, "204", false, (*tenant).terminated},
	{"content", 140, "200", true, (*tenant).content},
	{"content, broken off", 10, "broken off", true, (*tenant).contentBrokenOff},
	{"content, a range", 100, "206", true, (*tenant).contentRange},
	{"record", 80, "200", true, (*tenant).record},
	{"list", 50, "200", false, (*tenant).list},
	{"deletion", 60, "204", true, (*tenant).remove},
	{"proxied GET", 80, "200", false, (*tenant).remoteGet},
	{"proxied POST", 66, "200", false, (*tenant).remotePost},
	{"proxied POST, broken off", 4, "broken off", false, (*tenant).remotePostBrokenOff},
}

// slow is what clients do that send a few KiB a second.
var slow = []*kind{
	{name: "raw upload, slow", outcome: "201", act: (*tenant).raw},
	{name: "form upload, slow", outcome: "201", act: (*tenant).form},
	{name: "tus upload, slow", outcome: "204", act: (*tenant).resumable},
}

// noisy is what the noisy tenant does; it may be refused, too.
var noisy = []*kind{{name: noisyUpload, outcome: "201", act: (*tenant).raw}}

const noisyUpload = "raw upload, noisy"

// last is what is done at the end, with each name that has an image.
var last = []*kind{{name: "content, of each image at the end", outcome: "200", act: (*tenant).content}}

var mixes = [][]*kind{ordinary, slow, noisy, last}

// draw takes one by its share; where none has a share, one as well as another.
func draw(mix []*kind) *kind {
	n := rand.IntN(1000)
	for _, drawn := range mix {
		if n -= drawn.share; n < 0 {
			return drawn
		}
	}
	return mix[rand.IntN(len(mix))]
}

// soak sends requests of all kinds at once, for long: of ordinary tenants by the clock, of slow clients of
// theirs, and of one noisy tenant that uploads without a pause. It tells every few seconds what gatehouse
// takes, and at the end what became of the requests.
type soak struct {
	length, every, timeout, trickle time.Duration
	tenants, noisy                  int
	rate                            float64
	service                         service
	sampler                         sampler
	watch                           watch
	everyone                        []*tenant
	became                          map[*kind]*tally
}

func soakGatehouse(arguments []string) error {
	s := soak{became: map[*kind]*tally{}}
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	base := flags.String("url", "http://127.0.0.1:3000", "base URL of gatehouse")
	operations := flags.String("operations", "http://127.0.0.1:9464", "base URL of its listener of operations")
	remote := flags.String("remote", "sink", "the name of a service behind it that answers as `load sink` does")
	flags.DurationVar(&s.length, "length", 10*time.Minute, "how long")
	flags.DurationVar(&s.every, "every", 5*time.Second, "from one sample to the next")
	flags.DurationVar(&s.timeout, "timeout", 2*time.Minute, "for one request")
	flags.DurationVar(&s.trickle, "trickle", 30*time.Second, "how long a slow client sends 100 KB")
	flags.IntVar(&s.tenants, "tenants", 8, "ordinary tenants; each has a slow client, too")
	flags.IntVar(&s.noisy, "noisy", 32, "uploads at a time of the noisy tenant")
	flags.Float64Var(&s.rate, "rate", 32, "requests a second of the ordinary tenants together")
	s.watch.register(flags)
	_ = flags.Parse(arguments)
	parsed, err := url.Parse(*base)
	if err != nil || parsed.Host == "" || flags.NArg() > 0 || s.tenants < 1 {
		return usageError("-url must be http://HOST:PORT, -tenants positive, and nothing may follow the flags")
	}
	s.service = service{address: parsed.Host, remote: "/consumer-api/service/" + *remote + "/item"}
	if s.service.small, err = newImages(100_000, 8); err != nil {
		return err
	}
	for _, size := range []int{5_000_000, 5_000_100, 5_000_200, 12_000_000} { // the last one comes to the store in parts
		large, err := newImages(size, 1)
		if err != nil {
			return err
		}
		s.service.large = append(s.service.large, large...)
	}
	s.sampler = sampler{pid: s.watch.service, metrics: *operations + "/metrics"}
	return s.run()
}

func (s *soak) run() error {
	before, err := s.watch.begin()
	if err != nil {
		return err
	}
	began, loadBefore := time.Now(), ownCPU()
	if err := s.sampler.begin(began); err != nil {
		return err
	}
	over := s.send(began.Add(s.length))
	for sent := false; !sent; {
		select {
		case <-over:
			sent = true
		case <-time.After(s.every):
			line, err := s.sampler.take()
			if err != nil {
				return err
			}
			line["case"] = "sample"
			printLine(line)
		}
	}
	line := map[string]any{
		"case": "total", "seconds": round(time.Since(began).Seconds()), "tenants": s.tenants, "rate": s.rate,
		"noisy": s.noisy, "load_cpu_s": round(ownCPU() - loadBefore),
	}
	if err := s.watch.end(before, line); err != nil {
		return err
	}
	printLine(line)
	images := s.readAll()
	s.tell()
	return s.calm(images)
}

// send begins all clients; they end then, and the channel is closed once what they sent is answered.
func (s *soak) send(until time.Time) <-chan struct{} {
	for _, mix := range mixes {
		for _, what := range mix {
			s.became[what] = newTally(until)
		}
	}
	var clients sync.WaitGroup
	begin := func(client func()) {
		clients.Add(1)
		go func() {
			defer clients.Done()
			client()
		}()
	}
	for n := range s.tenants {
		s.everyone = append(s.everyone, newTenant(&s.service, fmt.Sprintf("tenant-%d", n), 16))
	}
	tenants := s.everyone
	begin(func() {
		byTheClock(s.rate, until, s.dial, func(c *connection, n int, due time.Time) {
			s.one(tenants[n%len(tenants)], ordinary, c, due)
			if rand.IntN(20) == 0 {
				c.close() // clients come and go
			}
		})
	})
	little := s.service
	little.large = nil
	for _, t := range tenants {
		slowly := &tenant{service: &little, id: t.id, names: t.names}
		begin(func() {
			c := s.dial()
			c.rest = s.trickle * trickled / time.Duration(len(little.small[0].bytes))
			s.loop(slowly, slow, c, until.Add(-s.trickle))
		})
	}
	loud := newTenant(&s.service, "noisy", 4*s.noisy)
	s.everyone = append(s.everyone, loud)
	for range s.noisy {
		begin(func() { s.loop(loud, noisy, s.dial(), until) })
	}
	over := make(chan struct{})
	go func() { clients.Wait(); close(over) }()
	return over
}

func (s *soak) dial() *connection {
	return &connection{address: s.service.address, timeout: s.timeout}
}

// loop does one thing after the other until then.
func (s *soak) loop(t *tenant, mix []*kind, c *connection, until time.Time) {
	defer c.close()
	for now := time.Now(); now.Before(until); now = time.Now() {
		s.one(t, mix, c, now)
	}
}

// one does something of the mix with the name whose turn it is. What waits for its turn here waits for the
// server: it counts from when it was due.
func (s *soak) one(t *tenant, mix []*kind, c *connection, due time.Time) {
	at := <-t.names
	defer func() { t.names <- at }()
	what := draw(mix)
	if what.reads && at.id == "" {
		what = mix[0]
	}
	s.became[what].add(what.act(t, c, at), time.Since(due))
}

// readAll reads each image that has to be there, and returns how many those are.
func (s *soak) readAll() (images int) {
	c := s.dial()
	defer c.close()
	for _, t := range s.everyone {
		for range len(t.names) {
			at := <-t.names
			if at.id != "" {
				images++
				began := time.Now()
				s.became[last[0]].add(t.content(c, at), time.Since(began))
			}
		}
	}
	return images
}

func (s *soak) tell() {
	for _, mix := range mixes {
		for _, what := range mix {
			line := map[string]any{"case": "requests", "kind": what.name, "expected": what.outcome}
			s.became[what].tell(line, "", s.length.Seconds())
			printLine(line)
		}
	}
}

// What gatehouse tells of its database is up to 15 s old, which calm waits for; then it waits until nothing
// is pending any more and the images are those that clients know of, but not for ever.
const (
	shortestCalm = 20 * time.Second
	longestCalm  = time.Minute
)

func (s *soak) calm(images int) error {
	time.Sleep(shortestCalm)
	for waited := shortestCalm; waited < longestCalm; waited += time.Second {
		told, err := readMetrics(s.sampler.metrics)
		if err != nil {
			return err
		}
		if told.pending() == 0 && told.sum("gatehouse_images", "") == float64(images) {
			break
		}
		time.Sleep(time.Second)
	}
	line, err := s.sampler.take()
	if err != nil {
		return err
	}
	line["case"], line["images_expected"] = "calm", images
	printLine(line)
	return nil
}
