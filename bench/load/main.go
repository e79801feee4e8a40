// Command load drives the benchmarks: it uploads, measures the processes that serve
// the uploads, and reports medians and ratios. Standard library only.
package main

import (
	"errors"
	"fmt"
	"os"
)

const usage = `usage: load COMMAND [flags]

  gatehouse   multipart (or raw) uploads to gatehouse
  s3          signed PUTs straight to an S3 store
  tus         uploads to a tus 1.0.0 server
  direct      uploads that gatehouse lets go straight to its store
  run         run another load program (its last line of output is JSON) and measure
  start       start a program over and over, time it to its first 200
  memory      a service's peak over its runs, and what it holds now
  sink        an upstream that throws every body away
  hooks       a receiver of webhooks that tells how fast they came
  overload    uploads by the clock, as many as are asked for, beside a quiet tenant's
  soak        requests of all kinds at once, for long, while what gatehouse takes is sampled
  soaked FILE what the JSON lines of a soak in FILE come to; exits 1 unless all stayed well
  records     a list's first page, a page far down, and single records
  fsync       durable writes a second
  wait        wait until a URL answers 200
  bucket      create, or empty and create anew, a bucket
  ports N     print N free TCP ports
  report FILE medians and ratios of the JSON lines in FILE

load COMMAND -h lists the flags. Uploads print one line of JSON.`

func main() {
	commands := map[string]func([]string) error{
		"gatehouse": uploadGatehouse,
		"s3":        uploadS3,
		"tus":       uploadTus,
		"direct":    uploadDirect,
		"run":       runOther,
		"start":     measureStart,
		"memory":    measureMemory,
		"sink":      serveSink,
		"hooks":     receiveHooks,
		"overload":  sendByTheClock,
		"soak":      soakGatehouse,
		"soaked":    reportSoak,
		"records":   readRecords,
		"fsync":     measureSync,
		"wait":      waitForURL,
		"bucket":    bucketCommand,
		"ports":     freePorts,
		"report":    report,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		var bad usageError
		if errors.As(err, &bad) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }
