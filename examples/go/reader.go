// Command reader reads one value of the index with its status and age from Redis.
//
//	REDIS_URL=redis://127.0.0.1:6379/0 go run . HOME orders:market:all:1m
//
// A value is as old as its source, orders or payments: a third argument names it (docs/contract.md, Sources).
// It exits with 0 for a value, 1 when the value is unknown now, 2 when Redis cannot be reached.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	// A publisher says each second that its values stand.
	silentAfter = 5 * time.Second
	// The newest window of a live market ended at most some ten seconds ago.
	behindAfter = 30 * time.Second
)

// errUnknown says that there is no value that may be used now. That is not a zero.
var errUnknown = errors.New("is unknown")

// A value is what the index says, and how old it is.
type value struct {
	// text is plain decimal. An integer may exceed 64 bits: big.Int keeps it.
	text   string
	status string
	age    time.Duration
}

// readValue asks for value, status and both times in one HMGET, so that all are of one version
// (docs/contract.md, Redis). Its error is errUnknown, or what kept Redis from answering.
func readValue(ctx context.Context, client *redis.Client, market, field, source string) (value, error) {
	reply := client.HMGet(ctx, "ecindex:v1:{"+market+"}:values",
		field, field+"@status", "@as_of:"+source, "@published_at")
	if err := reply.Err(); err != nil {
		return value{}, err
	}
	text, hasValue := reply.Val()[0].(string)
	status, hasStatus := reply.Val()[1].(string)
	asOfText, hasAsOf := reply.Val()[2].(string)
	publishedText, hasPublished := reply.Val()[3].(string)
	if !hasAsOf || !hasPublished {
		return value{}, fmt.Errorf("%w: nobody publishes this market now", errUnknown)
	}
	if !hasValue && !hasStatus {
		return value{}, fmt.Errorf("%w: it is not among the market's values", errUnknown)
	}
	asOf, err := time.Parse(time.RFC3339, asOfText)
	if err != nil {
		return value{}, err
	}
	publishedAt, err := time.Parse(time.RFC3339, publishedText)
	if err != nil {
		return value{}, err
	}
	if silence := time.Since(publishedAt); silence > silentAfter {
		return value{}, fmt.Errorf("%w: its publisher was last heard %.1f s ago", errUnknown, silence.Seconds())
	}
	age := time.Since(asOf)
	if age > behindAfter {
		return value{}, fmt.Errorf("%w: it is %.1f s old", errUnknown, age.Seconds())
	}
	if !hasValue {
		return value{}, fmt.Errorf("%w: its status is %s", errUnknown, status)
	}
	if !hasStatus {
		status = "ok"
	}
	return value{text, status, age}, nil
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	market, field, source := "HOME", "orders:market:all:1m", "orders"
	if len(arguments) > 0 {
		market = arguments[0]
	}
	if len(arguments) > 1 {
		field = arguments[1]
	}
	if len(arguments) > 2 {
		source = arguments[2]
	}
	url := os.Getenv("REDIS_URL")
	if url == "" {
		url = "redis://127.0.0.1:6379/0"
	}
	logging.Disable() // what goes wrong is said once, below
	options, err := redis.ParseURL(url)
	if err != nil {
		fmt.Fprintf(os.Stderr, "REDIS_URL: %v\n", err)
		return 2
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	found, err := readValue(ctx, client, market, field, source)
	switch {
	case errors.Is(err, errUnknown):
		fmt.Fprintf(os.Stderr, "%s %s %v\n", market, field, err)
		return 1
	case err != nil:
		fmt.Fprintf(os.Stderr, "Redis does not answer: %v\n", err)
		return 2
	}
	fmt.Printf("%s %s = %s (%s, %.1f s old)\n", market, field, found.text, found.status, found.age.Seconds())
	return 0
}
