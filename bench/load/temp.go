package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempFiles looks into a folder every few milliseconds for what is in it at most.
type tempFiles struct {
	stop chan struct{}
	most chan int64
}

func watchTemp(folder string) *tempFiles {
	t := &tempFiles{make(chan struct{}), make(chan int64)}
	go func() {
		var most int64
		ticks := time.NewTicker(5 * time.Millisecond)
		defer ticks.Stop()
		for {
			most = max(most, sizeOf(folder))
			select {
			case <-ticks.C:
			case <-t.stop:
				t.most <- most
				return
			}
		}
	}()
	return t
}

// end returns the most MiB that were there at once.
func (t *tempFiles) end() float64 {
	close(t.stop)
	return float64(<-t.most) / (1 << 20)
}

// sizeOf counts a folder's files; those that go while it looks are left out.
func sizeOf(folder string) (size int64) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// writtenMiB is what a process has written into files on a disk so far, those included that it
// removed before they got there: proc(5), /proc/PID/io.
func writtenMiB(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	for _, line := range strings.Split(string(text), "\n") {
		var bytes float64
		if n, _ := fmt.Sscanf(line, "write_bytes: %f", &bytes); n == 1 {
			return bytes / (1 << 20)
		}
	}
	return 0
}
