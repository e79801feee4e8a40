package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// columns are the figures that a report shows where a case has them, in this order.
var columns = []struct{ key, title string }{
	{"uploads_per_s", "uploads/s"},
	{"requests_per_s", "requests/s"},
	{"mb_per_s", "MB/s"},
	{"start_ms", "start ms"},
	{"p50_ms", "p50 ms"},
	{"p99_ms", "p99 ms"},
	{"service_cpu_s_per_1000", "CPU s/1,000"},
	{"service_cpu_s_per_gb", "CPU s/GB"},
	{"service_cpu_us_per_request", "CPU µs/request"},
	{"service_peak_mib", "peak MiB"},
	{"idle_mib", "idle MiB"},
	{"held_mib", "held MiB"},
	{"temp_peak_mib", "temporary files, peak MiB"},
	{"written_mib", "written MiB"},
	{"store_cpu_s_per_1000", "store CPU s/1,000"},
	{"store_cpu_s_per_gb", "store CPU s/GB"},
	{"store_cpu_us_per_request", "store CPU µs/request"},
	{"load_cpu_s_per_1000", "load CPU s/1,000"},
	{"load_cpu_s_per_gb", "load CPU s/GB"},
	{"load_cpu_us_per_request", "load CPU µs/request"},
}

// Ratios are of the first of the rates that a case has, and of all its costs.
var (
	rates = []string{"requests_per_s", "uploads_per_s", "mb_per_s", "start_ms"}
	costs = []string{
		"service_cpu_s_per_1000", "service_cpu_s_per_gb", "service_cpu_us_per_request", "p99_ms",
		"service_peak_mib", "held_mib",
	}
)

type entry map[string]any

func (e entry) text(key string) string { s, _ := e[key].(string); return s }
func (e entry) number(key string) (float64, bool) {
	n, ok := e[key].(float64)
	return n, ok
}

// report prints two tables a case: medians of the rounds (peaks: the highest), then the
// first target's ratios to each other one, taken round by round: median (lowest–highest).
func report(arguments []string) error {
	if len(arguments) != 1 {
		return usageError("report FILE")
	}
	entries, err := readEntries(arguments[0])
	if err != nil {
		return err
	}
	for _, name := range distinct(entries, "case") {
		mine := matching(entries, "case", name)
		fmt.Printf("### %s\n\n", name)
		table(mine)
		ratios(mine)
		fmt.Println()
	}
	return nil
}

func table(entries []entry) {
	titles := []string{"target", "rounds"}
	var keys []string
	for _, column := range columns {
		if len(values(entries, column.key)) > 0 {
			titles, keys = append(titles, column.title), append(keys, column.key)
		}
	}
	titles = append(titles, "outcomes")
	fmt.Println("| " + strings.Join(titles, " | ") + " |")
	fmt.Println("|" + strings.Repeat(" --- |", len(titles)))
	for _, target := range distinct(entries, "target") {
		mine := matching(entries, "target", target)
		row := []string{target, strconv.Itoa(len(mine))}
		for _, key := range keys {
			figures := values(mine, key)
			switch {
			case len(figures) == 0:
				row = append(row, "")
			case strings.HasSuffix(key, "_peak_mib"):
				row = append(row, figure(slices.Max(figures)))
			default:
				row = append(row, figure(median(figures)))
			}
		}
		fmt.Println("| " + strings.Join(append(row, outcomes(mine)), " | ") + " |")
	}
}

func ratios(entries []entry) {
	targets := distinct(entries, "target")
	keys := compared(entries)
	if len(targets) < 2 || len(keys) == 0 {
		return
	}
	titles := []string{targets[0] + " ÷"}
	for _, key := range keys {
		titles = append(titles, title(key))
	}
	fmt.Println("\n| " + strings.Join(titles, " | ") + " |")
	fmt.Println("|" + strings.Repeat(" --- |", len(titles)))
	for _, other := range targets[1:] {
		row := []string{other}
		for _, key := range keys {
			row = append(row, ratio(entries, key, targets[0], other))
		}
		fmt.Println("| " + strings.Join(row, " | ") + " |")
	}
}

// compared returns the keys of those figures of a case that ratios are taken of.
func compared(entries []entry) []string {
	var keys []string
	for _, key := range rates {
		if len(keys) == 0 && len(values(entries, key)) > 0 {
			keys = append(keys, key)
		}
	}
	for _, key := range costs {
		if len(values(entries, key)) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

func title(key string) string {
	for _, column := range columns {
		if column.key == key {
			return column.title
		}
	}
	return key
}

// ratio is empty where a target has no such figure.
func ratio(entries []entry, key, ours, theirs string) string {
	var quotients []float64
	for _, round := range distinct(entries, "round") {
		mine := matching(entries, "round", round)
		a := values(matching(mine, "target", ours), key)
		b := values(matching(mine, "target", theirs), key)
		if len(a) == 1 && len(b) == 1 && b[0] > 0 {
			quotients = append(quotients, a[0]/b[0])
		}
	}
	switch len(quotients) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%.2f", quotients[0])
	default:
		return fmt.Sprintf("%.2f (%.2f–%.2f)", median(quotients), slices.Min(quotients), slices.Max(quotients))
	}
}

func outcomes(entries []entry) string {
	counts := map[string]int{}
	for _, e := range entries {
		histogram, _ := e["outcomes"].(map[string]any)
		for outcome, count := range histogram {
			n, _ := count.(float64)
			counts[outcome] += int(n)
		}
	}
	var parts []string
	for outcome, count := range counts {
		if count == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s: %d", outcome, count))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}

func readEntries(path string) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []entry
	for lines := bufio.NewScanner(file); lines.Scan(); {
		e := entry{}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		e["round"] = fmt.Sprint(e["round"])
		entries = append(entries, e)
	}
	return entries, nil
}

func distinct(entries []entry, key string) []string {
	var found []string
	for _, e := range entries {
		if !slices.Contains(found, e.text(key)) {
			found = append(found, e.text(key))
		}
	}
	return found
}

func matching(entries []entry, key, value string) []entry {
	var found []entry
	for _, e := range entries {
		if e.text(key) == value {
			found = append(found, e)
		}
	}
	return found
}

func values(entries []entry, key string) []float64 {
	var found []float64
	for _, e := range entries {
		if n, ok := e.number(key); ok {
			found = append(found, n)
		}
	}
	return found
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// figure shows three significant digits or all of the integer part.
func figure(value float64) string {
	switch {
	case value >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case value >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}
