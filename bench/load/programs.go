package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// runOther measures services while another program loads them. The last line that the
// program prints must be a JSON object; a member "bytes" (sent) gives CPU per GB, without
// it a member "requests" gives CPU per request.
func runOther(arguments []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	var marks labels
	var processes watch
	marks.register(flags)
	processes.register(flags)
	_ = flags.Parse(arguments)
	if flags.NArg() == 0 {
		return usageError("run [flags] PROGRAM [ARGUMENT]...")
	}
	before, err := processes.begin()
	if err != nil {
		return err
	}
	command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", flags.Arg(0), err, output)
	}
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	line := map[string]any{}
	if err := json.Unmarshal(lines[len(lines)-1], &line); err != nil {
		return fmt.Errorf("the last line of %s is no JSON: %w\n%s", flags.Arg(0), err, output)
	}
	if err := processes.end(before, line); err != nil {
		return err
	}
	line["load_cpu_s"] = round((command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds())
	requests, _ := line["requests"].(float64)
	sent, _ := line["bytes"].(float64)
	for _, who := range []string{"service", "store", "load"} {
		cpu, known := line[who+"_cpu_s"].(float64)
		switch {
		case !known || requests == 0:
		case sent > 0:
			line[who+"_cpu_s_per_gb"] = round(cpu * 1e9 / sent)
		default:
			line[who+"_cpu_us_per_request"] = round(cpu * 1e6 / requests)
		}
	}
	marks.add(line)
	printLine(line)
	return nil
}

// measureStart starts a program -n times, and each time measures from just before exec
// to the end of the first 200, then the resident memory once it has been idle a while.
func measureStart(arguments []string) error {
	flags := flag.NewFlagSet("start", flag.ExitOnError)
	url := flags.String("url", "http://127.0.0.1:3000/healthz", "answers 200 once the program is up")
	count := flags.Int("n", 10, "starts")
	idle := flags.Duration("idle", time.Second, "rest before the memory is read")
	timeout := flags.Duration("timeout", 30*time.Second, "for one start, and for one stop")
	var marks labels
	marks.register(flags)
	_ = flags.Parse(arguments)
	if flags.NArg() == 0 {
		return usageError("start [flags] PROGRAM [ARGUMENT]...")
	}
	for marks.round = 1; marks.round <= *count; marks.round++ {
		command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
		command.Stderr = os.Stderr
		began := time.Now()
		if err := command.Start(); err != nil {
			return err
		}
		exited := make(chan error, 1)
		go func() { exited <- command.Wait() }()
		err := poll(*url, *timeout, exited)
		took := time.Since(began)
		if err == nil {
			time.Sleep(*idle)
			line := map[string]any{
				"start_ms": round(float64(took.Microseconds()) / 1000),
				"idle_mib": round(memoryMiB(command.Process.Pid, "VmRSS")),
				"peak_mib": round(memoryMiB(command.Process.Pid, "VmHWM")),
			}
			marks.add(line)
			printLine(line)
		}
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(*timeout):
			_ = command.Process.Kill()
			return fmt.Errorf("%s did not stop within %s of SIGTERM", flags.Arg(0), *timeout)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func waitForURL(arguments []string) error {
	flags := flag.NewFlagSet("wait", flag.ExitOnError)
	url := flags.String("url", "", "the URL")
	timeout := flags.Duration("timeout", time.Minute, "give up after")
	_ = flags.Parse(arguments)
	return poll(*url, *timeout, nil)
}

// poll asks every millisecond, each time on a new connection.
func poll(url string, timeout time.Duration, exited chan error) error {
	client := http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
	}
	last := "nothing"
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case err := <-exited:
			exited <- err
			return fmt.Errorf("it exited before it answered: %v", err)
		default:
		}
		response, err := client.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		last = response.Status
	}
	return fmt.Errorf("%s gave no 200 within %s, but %s", url, timeout, last)
}

// freePorts holds all listeners until all ports are known, so that they differ. Ports are
// taken from below the range of outgoing connections, lest a client grabs one meanwhile.
func freePorts(arguments []string) error {
	if len(arguments) != 1 {
		return usageError("ports N")
	}
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return usageError("ports N")
	}
	for port := 20000 + os.Getpid()%10000; count > 0 && port < 32768; port++ {
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer listener.Close()
		fmt.Println(port)
		count--
	}
	if count > 0 {
		return fmt.Errorf("not enough free ports")
	}
	return nil
}
