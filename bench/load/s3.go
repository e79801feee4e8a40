package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// uploadS3 is the peer that no gateway can beat: the client signs and sends by itself.
// UNSIGNED-PAYLOAD is the default, the cheapest that S3 takes for client and store alike.
func uploadS3(arguments []string) error {
	u := newUploads("s3", "http://127.0.0.1:9000")
	bucket := u.flags.String("bucket", "bench", "bucket")
	hashed := u.flags.Bool("sha256", false, "sign the payload's real SHA-256, which the store then verifies")
	partSize := u.flags.Int("parts", 0, "multipart uploads of parts of this size, two at a time")
	if err := u.parse(arguments); err != nil {
		return err
	}
	keys := signerFromEnvironment()
	hash := unsignedPayload
	if *hashed {
		hash = u.payload.sha256() // once: every upload sends the same bytes
	}
	return u.measure(func(c *connection, n int) answer {
		path := fmt.Sprintf("/%s/%s/customer/%s/image-%d.jpg", *bucket, u.tenant(n), u.customer(n), n)
		if *partSize > 0 {
			return uploadParts{keys, u.address, *partSize}.send(c, path, u.payload)
		}
		date, authorization := keys.sign(time.Now(), "PUT", path, "", u.address, hash)
		head := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: %s\r\nx-amz-date: %s\r\nx-amz-content-sha256: %s\r\n"+
			"Authorization: %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
			path, u.address, date, hash, authorization, u.payload.size)
		return c.exchange(u.request([]byte(head))...)
	})
}

// signer makes AWS Signature Version 4 headers for S3.
type signer struct{ accessKey, secretKey, region string }

func signerFromEnvironment() signer {
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = "us-east-1"
	}
	return signer{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), region}
}

// sign expects a path and query that need no encoding, as all of ours are.
func (s signer) sign(now time.Time, method, path, query, host, payloadHash string) (date, authorization string) {
	date = now.UTC().Format("20060102T150405Z")
	day := date[:8]
	const signed = "host;x-amz-content-sha256;x-amz-date"
	canonical := fmt.Sprintf("%s\n%s\n%s\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s",
		method, path, query, host, payloadHash, date, signed, payloadHash)
	scope := day + "/" + s.region + "/s3/aws4_request"
	digest := sha256.Sum256([]byte(canonical))
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + s.secretKey)
	for _, step := range []string{day, s.region, "s3", "aws4_request"} {
		key = mac(key, step)
	}
	authorization = fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		s.accessKey, scope, signed, mac(key, toSign))
	return date, authorization
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

// bucketCommand creates a bucket; -reset deletes it with all that is in it first, by a
// header that only MinIO knows.
func bucketCommand(arguments []string) error {
	flags := flag.NewFlagSet("bucket", flag.ExitOnError)
	base := flags.String("url", "http://127.0.0.1:9000", "the store")
	bucket := flags.String("bucket", "bench", "bucket")
	reset := flags.Bool("reset", false, "delete it with its objects first (MinIO only)")
	_ = flags.Parse(arguments)
	if *reset {
		if err := callBucket(*base, *bucket, "DELETE", http.Header{"X-Minio-Force-Delete": {"true"}}, 204, 404); err != nil {
			return err
		}
	}
	return callBucket(*base, *bucket, "PUT", http.Header{}, 200, 409)
}

func callBucket(base, bucket, method string, header http.Header, accepted ...int) error {
	parsed, err := url.Parse(strings.TrimSuffix(base, "/") + "/" + bucket)
	if err != nil {
		return err
	}
	request := &http.Request{Method: method, URL: parsed, Header: header}
	date, authorization := signerFromEnvironment().sign(time.Now(), method, parsed.Path, "", parsed.Host, emptySHA256)
	header.Set("X-Amz-Date", date)
	header.Set("X-Amz-Content-Sha256", emptySHA256)
	header.Set("Authorization", authorization)
	client := http.Client{Timeout: 2 * time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	for _, status := range accepted {
		if response.StatusCode == status {
			return nil
		}
	}
	return fmt.Errorf("%s bucket %s: %s %s", method, bucket, response.Status, body)
}
