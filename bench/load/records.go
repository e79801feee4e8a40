package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"time"
)

const imagesPath = "/consumer-api/service/consumers/customer-images/images"

// readRecords walks a tenant's list to a page far down, then asks for the first page, for that
// one and for single records by turns, one request at a time.
func readRecords(arguments []string) error {
	flags := flag.NewFlagSet("records", flag.ExitOnError)
	base := flags.String("url", "http://127.0.0.1:3000", "base URL of gatehouse")
	tenant := flags.String("tenant", "bench", "whose list")
	limit := flags.Int("limit", 100, "records a page")
	page := flags.Int("page", 10_000, "the page far down")
	count := flags.Int("n", 1000, "requests of each kind")
	_ = flags.Parse(arguments)
	parsed, err := url.Parse(*base)
	if err != nil || parsed.Host == "" {
		return usageError("-url must be http://HOST:PORT")
	}
	c := &connection{address: parsed.Host, timeout: time.Minute}
	defer c.close()
	get := func(path string) ([]byte, time.Duration, error) {
		head := fmt.Sprintf("GET %s%s HTTP/1.1\r\nHost: %s\r\nx-tenant-id: %s\r\n\r\n",
			imagesPath, path, parsed.Host, *tenant)
		began := time.Now()
		got := c.exchange([]byte(head))
		took := time.Since(began)
		if got.err == nil && got.status != 200 {
			got.err = fmt.Errorf("%s: %s", path, got.outcome())
		}
		return got.body, took, got.err
	}
	type list struct {
		Images     []struct{ ID string }
		NextCursor *string
	}

	first := fmt.Sprintf("?limit=%d", *limit)
	at, ids := first, []string{}
	began := time.Now()
	for number := 1; number < *page; number++ {
		body, _, err := get(at)
		if err != nil {
			return err
		}
		var read list
		if err := json.Unmarshal(body, &read); err != nil {
			return fmt.Errorf("page %d: %w", number, err)
		}
		if read.NextCursor == nil || len(read.Images) != *limit {
			return fmt.Errorf("the list ends at page %d, of %d", number, *page)
		}
		ids = append(ids, read.Images[number%*limit].ID)
		at = first + "&cursor=" + url.QueryEscape(*read.NextCursor)
	}
	walk := time.Since(began)

	var firsts, lasts, lookups []time.Duration
	for n := range *count {
		for _, kind := range []struct {
			path  string
			times *[]time.Duration
		}{{first, &firsts}, {at, &lasts}, {"/" + ids[n*7919%len(ids)], &lookups}} {
			_, took, err := get(kind.path)
			if err != nil {
				return err
			}
			*kind.times = append(*kind.times, took)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"page": *page, "walk_s": round(walk.Seconds()), "page_1_ms": medianMs(firsts),
		"page_far_ms": medianMs(lasts), "far_to_first": round(medianMs(lasts) / medianMs(firsts)),
		"lookup_ms": medianMs(lookups),
	})
}

// measureSync appends to a file and makes each block durable: what a disk can do.
func measureSync(arguments []string) error {
	flags := flag.NewFlagSet("fsync", flag.ExitOnError)
	folder := flags.String("folder", ".", "where the file is")
	count := flags.Int("n", 1000, "blocks of 4 KiB")
	_ = flags.Parse(arguments)
	path := filepath.Join(*folder, "fsync")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close(); _ = os.Remove(path) }()
	block := make([]byte, 4096)
	began := time.Now()
	for range *count {
		if _, err := file.Write(block); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	rate := float64(*count) / time.Since(began).Seconds()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"fsyncs_per_s": round(rate)})
}

func medianMs(times []time.Duration) float64 {
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return float64(times[len(times)/2].Microseconds()) / 1000
}
