package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// watch measures processes while a load runs: CPU seconds (user + system) and peak
// resident memory of a service and of the store behind it, each with its children; and
// what the service writes into files.
type watch struct {
	service, store int
	temp           string
	files          *tempFiles
}

func (w *watch) register(flags *flag.FlagSet) {
	flags.IntVar(&w.service, "service-pid", 0, "measure this process as the service")
	flags.IntVar(&w.store, "store-pid", 0, "measure this process as the store behind it")
	flags.StringVar(&w.temp, "temp", "", "measure what the service has in this folder at most, and writes in all")
}

func (w *watch) watched() map[string]int {
	all := map[string]int{"service": w.service, "store": w.store}
	for name, pid := range all {
		if pid == 0 {
			delete(all, name)
		}
	}
	return all
}

// begin forgets earlier peaks and returns the CPU seconds used so far.
func (w *watch) begin() (map[string]float64, error) {
	before := map[string]float64{}
	for name, pid := range w.watched() {
		for _, member := range family(pid) {
			// 5 resets the peak resident set size: proc(5), clear_refs.
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", member), []byte("5"), 0); err != nil {
				return nil, fmt.Errorf("resetting the peak memory of the %s: %w", name, err)
			}
		}
		cpu, err := cpuSeconds(pid)
		if err != nil {
			return nil, err
		}
		before[name] = cpu
	}
	if w.temp != "" {
		before["written"] = writtenMiB(w.service)
		w.files = watchTemp(w.temp)
	}
	return before, nil
}

func (w *watch) end(before map[string]float64, line map[string]any) error {
	for name, pid := range w.watched() {
		cpu, err := cpuSeconds(pid)
		if err != nil {
			return fmt.Errorf("the %s is gone: %w", name, err)
		}
		peak := 0.0
		for _, member := range family(pid) {
			peak += memoryMiB(member, "VmHWM")
		}
		line[name+"_cpu_s"] = round(cpu - before[name])
		line[name+"_peak_mib"] = round(peak)
	}
	if w.files != nil {
		line["temp_peak_mib"] = round(w.files.end())
		line["written_mib"] = round(writtenMiB(w.service) - before["written"])
	}
	return nil
}

// cpuSeconds counts a process, its living children and those that it has waited for.
func cpuSeconds(pid int) (float64, error) {
	ticks := 0
	for _, member := range family(pid) {
		fields, err := statFields(member)
		if err != nil {
			if member == pid {
				return 0, err
			}
			continue // a child that has just ended is in its parent's count
		}
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(field)
			ticks += n
		}
	}
	return float64(ticks) / 100, nil // USER_HZ is 100 wherever Debian runs
}

// statFields returns /proc/PID/stat from the state on (the name before it may hold spaces).
func statFields(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return fields, nil
}

func family(pid int) []int {
	members := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, path := range stats {
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if fields, err := statFields(child); err == nil {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i]]...)
	}
	return members
}

func ownCPU() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}
