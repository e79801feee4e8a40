package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// receiveHooks is a receiver of webhooks: it answers each request 204, and ends once so many different
// events have come. It reads no more of a request than it has to, so that the sender has the machine.
func receiveHooks(arguments []string) error {
	flags := flag.NewFlagSet("hooks", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:3001", "address")
	count := flags.Int("n", 10_000, "events to wait for")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	var (
		mutex    sync.Mutex
		seen     = make(map[string]struct{}, *count)
		requests int
		first    time.Time
		done     = make(chan time.Duration, 1)
	)
	note := func(id string) {
		mutex.Lock()
		defer mutex.Unlock()
		if requests == 0 {
			first = time.Now()
		}
		requests++
		before := len(seen)
		seen[id] = struct{}{}
		if len(seen) == *count && before < *count {
			done <- time.Since(first)
		}
	}
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer socket.Close()
				_ = answerHooks(socket, note)
			}()
		}
	}()
	took := <-done
	mutex.Lock()
	defer mutex.Unlock()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"events":     len(seen),
		"requests":   requests,
		"seconds":    took.Seconds(),
		"per_second": float64(len(seen)) / took.Seconds(),
	})
}

func answerHooks(socket net.Conn, note func(string)) error {
	reader := bufio.NewReader(socket)
	for {
		var id string
		length := 0
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return err
			}
			line = strings.TrimRight(line, "\r\n")
			if line == "" {
				break
			}
			name, value, _ := strings.Cut(line, ":")
			switch strings.ToLower(name) {
			case "webhook-id":
				id = strings.TrimSpace(value)
			case "content-length":
				if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
					return err
				}
			}
		}
		if id == "" {
			return fmt.Errorf("a request without webhook-id")
		}
		if _, err := reader.Discard(length); err != nil {
			return err
		}
		note(id)
		if _, err := io.WriteString(socket, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
			return err
		}
	}
}
