package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// uploads is what the three kinds of target share: how many, how large, how many at a time.
type uploads struct {
	flags       *flag.FlagSet
	url         *string
	count       *int
	size        *int
	concurrency *int
	tenants     *int
	timeout     *time.Duration
	strict      *bool
	perUpload   *bool
	labels      labels
	watch       watch
	run         string // makes this run's names unlike any other run's
	payload     payload
	address     string
	basePath    string
}

// sendOne makes upload number n on a connection.
type sendOne func(c *connection, n int) answer

func newUploads(name, defaultURL string) *uploads {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	u := &uploads{
		flags:       flags,
		url:         flags.String("url", defaultURL, "base URL of the target"),
		count:       flags.Int("n", 100, "uploads in all"),
		size:        flags.Int("size", 100_000, "bytes a file"),
		concurrency: flags.Int("c", 1, "uploads at a time"),
		tenants:     flags.Int("tenants", 8, "tenants to spread the uploads over"),
		timeout:     flags.Duration("timeout", 10*time.Minute, "for one upload"),
		strict:      flags.Bool("strict", false, "exit 1 unless every upload succeeds"),
		perUpload:   flags.Bool("per-upload", false, "tell CPU by the upload, not by the byte, whatever the size"),
		run:         strconv.FormatInt(time.Now().UnixNano(), 36),
	}
	u.labels.register(flags)
	u.watch.register(flags)
	return u
}

func (u *uploads) parse(arguments []string) error {
	_ = u.flags.Parse(arguments)
	if u.flags.NArg() > 0 || *u.count < 1 || *u.concurrency < 1 || *u.tenants < 1 {
		return usageError("-n, -c and -tenants must be positive, and nothing may follow the flags")
	}
	parsed, err := url.Parse(*u.url)
	if err != nil || parsed.Host == "" {
		return usageError("-url must be http://HOST:PORT[/PATH]")
	}
	u.address, u.basePath = parsed.Host, parsed.Path
	u.payload, err = newPayload(*u.size)
	return err
}

func (u *uploads) tenant(n int) string   { return "tenant-" + strconv.Itoa(n%*u.tenants) }
func (u *uploads) customer(n int) string { return u.run + "-" + strconv.Itoa(n) }

// request puts a request's head (and what of the body comes before the image) in front of
// the image, and after behind it.
func (u *uploads) request(head []byte, after ...[]byte) [][]byte {
	parts := make([][]byte, 0, len(u.payload.chunks)+1+len(after))
	parts = append(parts, head)
	parts = append(parts, u.payload.chunks...)
	return append(parts, after...)
}

func (u *uploads) measure(send sendOne) error {
	latencies := make([]time.Duration, *u.count)
	outcomes := map[string]int{}
	good := 0
	var lock sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup

	before, err := u.watch.begin()
	if err != nil {
		return err
	}
	ownBefore := ownCPU()
	start := time.Now()
	for range *u.concurrency {
		workers.Add(1)
		go func() {
			defer workers.Done()
			c := &connection{address: u.address, timeout: *u.timeout}
			defer c.close()
			for n := int(next.Add(1)) - 1; n < *u.count; n = int(next.Add(1)) - 1 {
				began := time.Now()
				got := send(c, n)
				latencies[n] = time.Since(began)
				lock.Lock()
				outcomes[got.outcome()]++
				if got.err == nil && got.status < 300 {
					good++
				}
				lock.Unlock()
			}
		}()
	}
	workers.Wait()
	seconds := time.Since(start).Seconds()
	own := ownCPU() - ownBefore

	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	thousands := float64(good) / 1000
	gigabytes := float64(good) * float64(*u.size) / 1e9
	line := map[string]any{
		"n": *u.count, "size": *u.size, "concurrency": *u.concurrency,
		"ok": good, "outcomes": outcomes, "seconds": round(seconds),
		"uploads_per_s": round(float64(good) / seconds),
		"mb_per_s":      round(gigabytes * 1000 / seconds),
		"p50_ms":        round(percentile(latencies, 0.50)),
		"p99_ms":        round(percentile(latencies, 0.99)),
		"load_cpu_s":    round(own),
	}
	if err := u.watch.end(before, line); err != nil {
		return err
	}
	for _, who := range []string{"service", "store", "load"} {
		cpu, known := line[who+"_cpu_s"].(float64)
		switch {
		case !known || good == 0:
		case *u.size < 1e6 || *u.perUpload: // a small file costs by the upload, a large one by the byte
			line[who+"_cpu_s_per_1000"] = round(cpu / thousands)
		default:
			line[who+"_cpu_s_per_gb"] = round(cpu / gigabytes)
		}
	}
	u.labels.add(line)
	printLine(line)
	if *u.strict && good != *u.count {
		return fmt.Errorf("only %d of %d uploads succeeded", good, *u.count)
	}
	return nil
}

func percentile(sorted []time.Duration, p float64) float64 {
	return float64(sorted[int(p*float64(len(sorted)-1)+0.5)].Microseconds()) / 1000
}

// labels say which case, target and round a line of results belongs to.
type labels struct {
	name, target string
	round        int
}

func (l *labels) register(flags *flag.FlagSet) {
	flags.StringVar(&l.name, "case", "", "label of the case")
	flags.StringVar(&l.target, "target", "", "label of the target")
	flags.IntVar(&l.round, "round", 0, "label of the round")
}

func (l *labels) add(line map[string]any) {
	line["case"], line["target"], line["round"] = l.name, l.target, l.round
}

func printLine(line map[string]any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(line)
}

// round keeps four decimals, enough for every figure here.
func round(value float64) float64 {
	return float64(int64(value*10_000+0.5)) / 10_000
}
