package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// sampler looks now and then at a process of gatehouse's: at what the system says that it takes, and at
// its own metrics.
type sampler struct {
	pid     int
	metrics string // their URL
	began   time.Time
	last    time.Time
	cpu     float64 // seconds, at the last sample
}

func (s *sampler) begin(now time.Time) (err error) {
	s.began, s.last = now, now
	s.cpu, err = cpuSeconds(s.pid)
	return err
}

// take returns a sample. What is pending is in the database, which gatehouse itself asks every 15 s.
func (s *sampler) take() (map[string]any, error) {
	cpu, err := cpuSeconds(s.pid)
	if err != nil {
		return nil, fmt.Errorf("the service is gone: %w", err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		return nil, err
	}
	told, err := readMetrics(s.metrics)
	if err != nil {
		return nil, err
	}
	fields, err := statFields(s.pid)
	if err != nil {
		return nil, err
	}
	threads, _ := strconv.Atoi(fields[17]) // num_threads: proc(5)
	now := time.Now()
	line := map[string]any{
		"at_s":              round(now.Sub(s.began).Seconds()),
		"rss_mib":           round(memoryMiB(s.pid, "VmRSS")),
		"fds":               len(files),
		"threads":           threads,
		"cores":             round((cpu - s.cpu) / now.Sub(s.last).Seconds()),
		"connections":       told.sum("gatehouse_connections", ""),
		"active_requests":   told.sum("http_server_active_requests", ""),
		"upload_memory_mib": round(told.sum("gatehouse_upload_memory_bytes", `state="used"`) / (1 << 20)),
		"uploads_waiting":   told.sum("gatehouse_upload_memory_waiting", ""),
		"changes_under_way": told.sum("gatehouse_unfinished_changes", `state="under-way"`),
		"changes_abandoned": told.sum("gatehouse_unfinished_changes", `state="abandoned"`),
		"jobs_waiting":      told.sum("gatehouse_jobs", `state="waiting"`),
		"jobs_running":      told.sum("gatehouse_jobs", `state="running"`),
		"jobs_dead":         told.sum("gatehouse_jobs", `state="dead"`),
		"pending":           told.pending(),
		"images":            told.sum("gatehouse_images", ""),
	}
	s.cpu, s.last = cpu, now
	return line, nil
}

// metrics are series in Prometheus' text format, with their values.
type metrics map[string]float64

func readMetrics(url string) (metrics, error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	told := metrics{}
	for _, line := range strings.Split(string(text), "\n") {
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			told[line[:space]] = value
		}
	}
	return told, nil
}

// pending is how many rows tell of something that is not finished.
func (m metrics) pending() float64 {
	return m.sum("gatehouse_unfinished_changes", "") + m.sum("gatehouse_jobs", "")
}

// sum adds a metric's series up, all or those with a label.
func (m metrics) sum(name, label string) (sum float64) {
	for series, value := range m {
		if rest, is := strings.CutPrefix(series, name); is && (rest == "" || rest[0] == '{') && strings.Contains(rest, label) {
			sum += value
		}
	}
	return sum
}
