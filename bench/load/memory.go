package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// measureMemory prints what a service took at most in the runs of a file of results, and
// what it holds now.
func measureMemory(arguments []string) error {
	flags := flag.NewFlagSet("memory", flag.ExitOnError)
	service := flags.Int("service-pid", 0, "the service, with its children")
	runs := flags.String("runs", "", "file of JSON lines, the target's runs among them")
	var marks labels
	marks.register(flags)
	_ = flags.Parse(arguments)
	entries, err := readEntries(*runs)
	if err != nil {
		return err
	}
	peaks := values(matching(entries, "target", marks.target), "service_peak_mib")
	if len(peaks) == 0 {
		return fmt.Errorf("%s holds no run of %s", *runs, marks.target)
	}
	line := map[string]any{"service_peak_mib": slices.Max(peaks), "held_mib": round(heldMiB(*service))}
	marks.add(line)
	printLine(line)
	return nil
}

// memoryMiB reads a line such as VmHWM (peak) or VmRSS (now) of /proc/PID/status.
func memoryMiB(pid int, name string) float64 {
	return fieldMiB(fmt.Sprintf("/proc/%d/status", pid), name)
}

// heldMiB counts the pages that a process and its children share once: those that they
// inherited by the kernel's own division (proc(5), smaps_rollup), those of the program's and
// its libraries' files by taking the child that has most of them. The files' own PSS would
// be too small, since other targets may run the same program.
func heldMiB(pid int) float64 {
	held, files := 0.0, 0.0
	for _, member := range family(pid) {
		rollup := fmt.Sprintf("/proc/%d/smaps_rollup", member)
		held += fieldMiB(rollup, "Pss_Anon") + fieldMiB(rollup, "Pss_Shmem")
		files = max(files, memoryMiB(member, "RssFile"))
	}
	return held + files
}

func fieldMiB(path, name string) float64 {
	text, _ := os.ReadFile(path)
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024
		}
	}
	return 0
}
