package main

import (
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"
)

// overload sends uploads by the clock, whether or not earlier ones were answered, as clients that know
// nothing of one another do: what is not answered at once is sent beside it. A quiet tenant uploads at a
// steady low rate meanwhile. What it tells is how many were stored, how many were refused and how, and
// how long the quiet tenant's took.
type overload struct {
	*uploads
	rate      *float64
	seconds   *float64
	quietRate *float64
}

func sendByTheClock(arguments []string) error {
	o := overload{uploads: newUploads("overload", "http://127.0.0.1:3000")}
	o.rate = o.flags.Float64("rate", 0, "uploads a second of the busy tenants; 0: none")
	o.seconds = o.flags.Float64("seconds", 10, "how long")
	o.quietRate = o.flags.Float64("quiet-rate", 5, "uploads a second of the quiet tenant")
	if err := o.parse(arguments); err != nil {
		return err
	}
	before, err := o.watch.begin()
	if err != nil {
		return err
	}
	until := time.Now().Add(time.Duration(*o.seconds * float64(time.Second)))
	busy, quiet := newTally(until), newTally(until)
	var senders sync.WaitGroup
	senders.Add(2)
	go func() {
		defer senders.Done()
		o.send(busy, *o.rate, until, func(n int) string { return o.tenant(n) })
	}()
	go func() {
		defer senders.Done()
		o.send(quiet, *o.quietRate, until, func(int) string { return "quiet" })
	}()
	senders.Wait()
	line := map[string]any{"rate": *o.rate, "seconds": *o.seconds, "size": *o.size}
	busy.tell(line, "busy_", *o.seconds)
	quiet.tell(line, "quiet_", *o.seconds)
	if err := o.watch.end(before, line); err != nil {
		return err
	}
	o.labels.add(line)
	printLine(line)
	return nil
}

func (o *overload) send(to *tally, rate float64, until time.Time, tenant func(int) string) {
	dial := func() *connection { return &connection{address: o.address, timeout: *o.timeout} }
	byTheClock(rate, until, dial, func(c *connection, n int, due time.Time) {
		// From when it was due: what waits for its turn here waits for the server.
		got := c.exchange(o.raw(tenant(n), n)...)
		to.add(got, time.Since(due))
	})
}

// byTheClock begins rate requests a second until then, each on a connection that is free or a new one, and
// waits for all.
func byTheClock(rate float64, until time.Time, dial func() *connection, send func(c *connection, n int, due time.Time)) {
	if rate <= 0 {
		return
	}
	free := make(chan *connection, 100_000)
	var sent sync.WaitGroup
	began := time.Now()
	for n := 0; ; n++ {
		due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if due.After(until) {
			break
		}
		time.Sleep(time.Until(due))
		sent.Add(1)
		go func() {
			defer sent.Done()
			var c *connection
			select {
			case c = <-free:
			default:
				c = dial()
			}
			send(c, n, due)
			if c.socket != nil {
				free <- c
			}
		}()
	}
	sent.Wait()
	close(free)
	for c := range free {
		c.close()
	}
}

func (o *overload) raw(tenant string, n int) [][]byte {
	head := fmt.Sprintf("PUT %s/consumer-api/service/consumers/customer-images/upload/%s/image-%d.jpg HTTP/1.1\r\n"+
		"Host: %s\r\nx-tenant-id: %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
		o.basePath, o.customer(n), n, o.address, tenant, o.payload.size)
	return o.request([]byte(head))
}

// tally is what became of uploads.
type tally struct {
	lock    sync.Mutex
	until   time.Time
	within  int // stored by then
	all     map[string]int
	good    []time.Duration
	hinted  int // refusals with Retry-After
	refused int
}

func newTally(until time.Time) *tally { return &tally{until: until, all: map[string]int{}} }

func (o *tally) add(got answer, took time.Duration) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.all[got.outcome()]++
	switch {
	case got.err == nil && got.status >= 200 && got.status < 300:
		o.good = append(o.good, took)
		if time.Now().Before(o.until) {
			o.within++
		}
	case got.status == 503 || got.status == 429:
		o.refused++
		if _, err := strconv.Atoi(got.header.Get("Retry-After")); err == nil {
			o.hinted++
		}
	}
}

func (o *tally) tell(line map[string]any, prefix string, seconds float64) {
	sort.Slice(o.good, func(i, j int) bool { return o.good[i] < o.good[j] })
	line[prefix+"outcomes"] = o.all
	line[prefix+"ok"] = len(o.good)
	line[prefix+"refused"] = o.refused
	line[prefix+"refused_with_retry_after"] = o.hinted
	line[prefix+"ok_per_s"] = round(float64(o.within) / seconds)
	if len(o.good) > 0 {
		line[prefix+"p50_ms"] = round(percentile(o.good, 0.50))
		line[prefix+"p99_ms"] = round(percentile(o.good, 0.99))
	}
}
