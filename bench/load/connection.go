package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// connection is one keep-alive HTTP/1.1 connection. It is barer than net/http's client
// (one writev per request, no goroutine hops), because what the generator burns is taken
// from the service under test on the same machine.
type connection struct {
	address string
	timeout time.Duration
	socket  net.Conn
	reader  *bufio.Reader
	second  *connection   // to the store, or of an upload in parts
	rest    time.Duration // of a slow client: before each few KiB that it sends
}

const (
	trickled    = 4 << 10  // what a slow client sends at once
	largestBody = 64 << 20 // of an answer
)

type answer struct {
	status  int
	problem string // the slug of an RFC 9457 body, if it is one
	header  http.Header
	body    []byte
	err     error
}

// outcome names an answer for the histogram: "201", "503 overloaded", "error: EOF".
func (a answer) outcome() string {
	switch {
	case a.err == nil && a.status == 0:
		return "broken off" // nobody waited for it
	case a.err != nil:
		text := a.err.Error()
		return "error: " + strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:])
	case a.problem != "":
		return strconv.Itoa(a.status) + " " + a.problem
	default:
		return strconv.Itoa(a.status)
	}
}

// exchange sends one request and reads its answer. The answer is awaited while sending,
// so that a server that refuses early is heard, and sending stops.
func (c *connection) exchange(parts ...[]byte) answer {
	if err := c.open(); err != nil {
		return answer{err: err}
	}
	socket := c.socket
	answers := make(chan answer, 1)
	var keep bool
	go func() {
		got, reusable := readAnswer(c.reader)
		keep = reusable
		_ = socket.SetWriteDeadline(time.Now()) // nothing sent from here on matters
		answers <- got
	}()
	sendErr := c.send(parts)
	got := <-answers
	if sendErr != nil || got.err != nil || !keep {
		c.close()
	}
	return got
}

// breakOff sends what there is of a request and closes the connection, as a client does that leaves.
func (c *connection) breakOff(parts ...[]byte) answer {
	if err := c.open(); err != nil {
		return answer{err: err}
	}
	defer c.close()
	_ = c.send(parts) // a server that has closed first is no surprise
	return answer{}
}

// open connects if it has to; what follows has to be over within the timeout.
func (c *connection) open() error {
	if c.socket == nil {
		socket, err := net.DialTimeout("tcp", c.address, c.timeout)
		if err != nil {
			return err
		}
		c.socket, c.reader = socket, bufio.NewReader(socket)
	}
	return c.socket.SetDeadline(time.Now().Add(c.timeout))
}

func (c *connection) send(parts [][]byte) error {
	if c.rest == 0 {
		buffers := net.Buffers(parts)
		_, err := buffers.WriteTo(c.socket)
		return err
	}
	for _, part := range parts {
		for piece := range slices.Chunk(part, trickled) {
			time.Sleep(c.rest)
			if _, err := c.socket.Write(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *connection) close() {
	if c.socket != nil {
		_ = c.socket.Close()
		c.socket = nil
	}
}

func readAnswer(reader *bufio.Reader) (got answer, reusable bool) {
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answer{err: err}, false
		}
		if response.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, largestBody))
		got = answer{status: response.StatusCode, header: response.Header, body: body, err: err}
		if response.StatusCode >= 400 {
			var problem struct{ Type string }
			if json.Unmarshal(body, &problem) == nil {
				got.problem = problem.Type[strings.LastIndex(problem.Type, "/")+1:]
			}
		}
		return got, err == nil && !response.Close
	}
}
