package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
)

const sinkAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nin\n"

// unwritten says by its length how much to throw away; all connections share it.
var unwritten [1 << 20]byte

// serveSink is an upstream for uploads: it answers each request once its whole body is in,
// and keeps the connection. The kernel throws the bodies away without a copy (MSG_TRUNC),
// which takes a quarter of the CPU of net/http or nginx, so that a proxy has the machine.
func serveSink(arguments []string) error {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:3001", "address")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	for {
		socket, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer socket.Close()
			_ = swallow(socket.(*net.TCPConn))
		}()
	}
}

func swallow(socket *net.TCPConn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	reader := bufio.NewReader(socket)
	for {
		length, err := readHead(reader)
		if errors.Is(err, errNoLength) {
			_, _ = io.WriteString(socket, "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		if err != nil {
			return err
		}
		early, _ := reader.Discard(min(length, reader.Buffered()))
		for left := length - early; left > 0; {
			n, err := discard(raw, unwritten[:min(left, len(unwritten))])
			if err != nil {
				return err
			}
			left -= n
		}
		if _, err := io.WriteString(socket, sinkAnswer); err != nil {
			return err
		}
	}
}

// discard takes up to a buffer's length of bytes off the socket: tcp(7), MSG_TRUNC.
func discard(raw syscall.RawConn, buffer []byte) (n int, err error) {
	waited := raw.Read(func(socket uintptr) bool {
		n, _, err = syscall.Recvfrom(int(socket), buffer, syscall.MSG_TRUNC)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if waited != nil {
		return 0, waited
	}
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A chunked body would have to be read to find its end.
var errNoLength = errors.New("the body is chunked")

// readHead reads a request's head and returns the length of its body.
func readHead(reader *bufio.Reader) (int, error) {
	length := 0
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if line = strings.TrimSpace(line); line == "" {
			return length, nil
		}
		name, value, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(name, "Transfer-Encoding"):
			return 0, errNoLength
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, fmt.Errorf("Content-Length %q is no number", value)
			}
		}
	}
}
