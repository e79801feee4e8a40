package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// figures are what a soak's samples tell, in this order; those with a factor may grow from the second third
// of the time to the last by no more than that, and what is granted beside it.
var figures = []struct {
	key, title      string
	factor, granted float64
}{
	{"rss_mib", "MiB of resident memory", 1.15, 0},
	{"fds", "open files", 1.1, 20},
	{"threads", "threads", 1.1, 4},
	{"cores", "cores in use", 0, 0},
	{"connections", "clients' connections", 0, 0},
	{"active_requests", "requests under way", 0, 0},
	{"upload_memory_mib", "MiB of upload memory in use", 0, 0},
	{"uploads_waiting", "uploads that wait for memory", 0, 0},
	{"changes_under_way", "changes under way", 0, 0},
	{"changes_abandoned", "changes abandoned", 0, 0},
	{"jobs_waiting", "jobs waiting", 0, 0},
	{"images", "images", 0, 0},
}

// reportSoak prints what became of a soak's requests, and medians of what gatehouse took in each third of
// the time behind a warm-up of a tenth of it. Whatever was not as it should be is its error.
func reportSoak(arguments []string) error {
	if len(arguments) != 1 {
		return usageError("soaked FILE")
	}
	entries, err := readEntries(arguments[0])
	if err != nil {
		return err
	}
	samples := matching(entries, "case", "sample")
	samples = samples[len(samples)/10:]
	ends := append(matching(entries, "case", "total"), matching(entries, "case", "calm")...)
	if len(ends) != 2 || len(samples) < 3 {
		return fmt.Errorf("%s is no whole soak, or one of less than three samples", arguments[0])
	}
	total, calm := ends[0], ends[1]
	faults := reportRequests(matching(entries, "case", "requests"))
	fmt.Println()
	faults = append(faults, reportSamples(samples, calm)...)
	if pending, _ := calm.number("pending"); pending > 0 {
		faults = append(faults, fmt.Sprintf("%.0f rows are pending although nothing comes any more", pending))
	}
	there, _ := calm.number("images")
	if expected, _ := calm.number("images_expected"); there != expected {
		faults = append(faults, fmt.Sprintf("%.0f images are there, not %.0f", there, expected))
	}
	fmt.Printf("\nCPU in %s s: service %s s, store %s s, load %s s; peak: service %s MiB, store %s MiB\n",
		shown(total, "seconds"), shown(total, "service_cpu_s"), shown(total, "store_cpu_s"), shown(total, "load_cpu_s"),
		shown(total, "service_peak_mib"), shown(total, "store_peak_mib"))
	if len(faults) == 0 {
		fmt.Println("\nNothing grew, nothing was left over, and every answer was as expected.")
		return nil
	}
	sentence := strings.Join(faults, "; ")
	fmt.Printf("\nNot well: %s.\n", sentence)
	return errors.New(sentence)
}

func reportRequests(kinds []entry) (faults []string) {
	fmt.Println("| requests | p50 ms | p99 ms | outcomes | unexpected |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	for _, kind := range kinds {
		wrong := unexpected(kind)
		fmt.Printf("| %s | %s | %s | %s | %s |\n", kind.text("kind"), shown(kind, "p50_ms"), shown(kind, "p99_ms"),
			outcomes([]entry{kind}), strings.Join(wrong, ", "))
		for _, what := range wrong {
			faults = append(faults, fmt.Sprintf("%s came to %s", kind.text("kind"), what))
		}
	}
	return faults
}

// shown is a figure of an entry, or a dash where there is none.
func shown(of entry, key string) string {
	if found, ok := of.number(key); ok {
		return figure(found)
	}
	return "–"
}

// unexpected returns a kind's outcomes but for the expected one, with their counts; the noisy tenant may be refused, if
// it is told when to come again.
func unexpected(kind entry) (wrong []string) {
	histogram, _ := kind["outcomes"].(map[string]any)
	mayBe := []string{kind.text("expected")}
	if kind.text("kind") == noisyUpload {
		mayBe = append(mayBe, "503 overloaded", "429 rate-limited")
	}
	for outcome, count := range histogram {
		if !slices.Contains(mayBe, outcome) {
			wrong = append(wrong, fmt.Sprintf("%v × %s", count, outcome))
		}
	}
	slices.Sort(wrong)
	refused, _ := kind.number("refused")
	if hinted, _ := kind.number("refused_with_retry_after"); hinted < refused {
		wrong = append(wrong, fmt.Sprintf("%v × refused without Retry-After", refused-hinted))
	}
	return wrong
}

func reportSamples(samples []entry, calm entry) (faults []string) {
	fmt.Println("| medians of each third | first | second | last | last ÷ first | most | afterwards |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- |")
	third := len(samples) / 3
	for _, row := range figures {
		first := median(values(samples[:third], row.key))
		second := median(values(samples[third:2*third], row.key))
		last := median(values(samples[2*third:], row.key))
		ratio := ""
		if first > 0 {
			ratio = fmt.Sprintf("%.2f", last/first)
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", row.title, figure(first), figure(second), figure(last), ratio,
			figure(slices.Max(values(samples, row.key))), shown(calm, row.key))
		if row.factor > 0 && last > second*row.factor+row.granted {
			faults = append(faults, fmt.Sprintf("%s grew from %s to %s", row.title, figure(second), figure(last)))
		}
	}
	return faults
}
