// Command standin is an S3 store that keeps nothing: it reads each body and answers as a
// store would. What a client of S3 costs by itself can be measured against it.
//
//	standin -listen 127.0.0.1:9000
//
// With -takes, each object takes so long to be put, and -at-once of them are at a time: a store elsewhere, whose
// limit is its own.
//
// net/http answers `Expect: 100-continue` by itself once a body is read.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	etag    = `"d41d8cd98f00b204e9800998ecf8427e"`
	xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// What each object takes to be put, and room for as many as are put at once.
var (
	takes time.Duration
	room  chan struct{}
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address")
	flag.DurationVar(&takes, "takes", 0, "what each object takes to be put")
	atOnce := flag.Int("at-once", 8, "objects that are put at a time, where they take something")
	flag.Parse()
	room = make(chan struct{}, *atOnce)
	log.Fatal(http.ListenAndServe(*listen, http.HandlerFunc(serve)))
}

func serve(w http.ResponseWriter, r *http.Request) {
	if !discard(r.Body) {
		return // the client is gone
	}
	query := r.URL.Query()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("x-amz-request-id", "0000000000000000")
	switch r.Method {
	case http.MethodPut: // CreateBucket, PutObject, UploadPart
		if key != "" && takes > 0 {
			room <- struct{}{}
			time.Sleep(takes)
			<-room
		}
		w.Header().Set("ETag", etag)
	case http.MethodHead: // HeadBucket, HeadObject
		w.Header().Set("x-amz-bucket-region", "us-east-1")
		w.Header().Set("ETag", etag)
	case http.MethodDelete: // DeleteObject, AbortMultipartUpload
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		switch {
		case query.Has("uploads"):
			respond(w, http.StatusOK, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key>"+
				"<UploadId>standin-upload</UploadId></InitiateMultipartUploadResult>", bucket, key)
		case query.Has("uploadId"):
			respond(w, http.StatusOK, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key>"+
				"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-1&quot;</ETag></CompleteMultipartUploadResult>", bucket, key)
		default:
			respond(w, http.StatusNotImplemented, "<Error><Code>NotImplemented</Code></Error>")
		}
	default:
		if key != "" {
			respond(w, http.StatusNotFound, "<Error><Code>NoSuchKey</Code><Key>%s</Key></Error>", key)
			return
		}
		respond(w, http.StatusOK, "<ListBucketResult><Name>%s</Name><KeyCount>0</KeyCount>"+
			"<IsTruncated>false</IsTruncated></ListBucketResult>", bucket)
	}
}

// discard reads a body through a pooled buffer and says whether it came to its end.
func discard(body io.Reader) bool {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		if _, err := body.Read(*buffer); err == io.EOF {
			return true
		} else if err != nil {
			return false
		}
	}
}

func respond(w http.ResponseWriter, status int, format string, values ...any) {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for i, value := range values {
		values[i] = escape.Replace(value.(string))
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, xmlHead+format, values...)
}
