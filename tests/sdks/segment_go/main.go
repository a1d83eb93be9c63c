// Makes calls with the unmodified analytics-go.
//
//	send HOST WRITE_KEY CALLS PAUSE_MS
//
// Prints a line `gave up ID` for each call that the SDK says it could not send.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/segmentio/analytics-go/v3"
)

type call struct {
	Type, MessageId, UserId, AnonymousId, PreviousId, GroupId, Event, Name string
	Properties, Traits, Context, Integrations                              map[string]interface{}
	Timestamp                                                              time.Time
}

type report struct{ ended *atomic.Int64 }

func (r report) Success(analytics.Message) { r.ended.Add(1) }

func (r report) Failure(message analytics.Message, err error) {
	defer r.ended.Add(1)
	text, _ := json.Marshal(message)
	var failed call
	_ = json.Unmarshal(text, &failed)
	fmt.Fprintln(os.Stderr, failed.MessageId, err)
	fmt.Println("gave up", failed.MessageId)
}

func main() {
	pause, err := strconv.Atoi(os.Args[4])
	stop(err)
	var made, ended atomic.Int64
	client, err := analytics.NewWithConfig(os.Args[2], analytics.Config{Endpoint: os.Args[1], Callback: report{&ended}})
	stop(err)
	file, err := os.Open(os.Args[3])
	stop(err)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var next call
		reader := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		reader.UseNumber() // integers beyond 64 bits stay what they are
		stop(reader.Decode(&next))
		stop(client.Enqueue(message(next)))
		made.Add(1)
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	stop(lines.Err())
	for ended.Load() < made.Load() { // while it closes it gives up at once
		time.Sleep(20 * time.Millisecond)
	}
	stop(client.Close())
}

func message(from call) analytics.Message {
	traits, properties := analytics.Traits(timed(from.Traits)), analytics.Properties(timed(from.Properties))
	integrations := analytics.Integrations(from.Integrations)
	var context *analytics.Context
	if from.Context != nil {
		context = &analytics.Context{Extra: from.Context}
	}
	switch from.Type {
	case "identify":
		return analytics.Identify{MessageId: from.MessageId, UserId: from.UserId, AnonymousId: from.AnonymousId, Traits: traits, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	case "track":
		return analytics.Track{MessageId: from.MessageId, UserId: from.UserId, AnonymousId: from.AnonymousId, Event: from.Event, Properties: properties, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	case "page":
		return analytics.Page{MessageId: from.MessageId, UserId: from.UserId, AnonymousId: from.AnonymousId, Name: from.Name, Properties: properties, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	case "screen":
		return analytics.Screen{MessageId: from.MessageId, UserId: from.UserId, AnonymousId: from.AnonymousId, Name: from.Name, Properties: properties, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	case "group":
		return analytics.Group{MessageId: from.MessageId, UserId: from.UserId, AnonymousId: from.AnonymousId, GroupId: from.GroupId, Traits: traits, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	default:
		return analytics.Alias{MessageId: from.MessageId, UserId: from.UserId, PreviousId: from.PreviousId, Context: context, Integrations: integrations, Timestamp: from.Timestamp}
	}
}

func timed(values map[string]interface{}) map[string]interface{} {
	if text, ok := values["at"].(string); ok {
		at, err := time.Parse(time.RFC3339, text)
		stop(err)
		values["at"] = at
	}
	return values
}

func stop(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
