package control

import (
	"context"
	"errors"
	"iter"
	"maps"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/messages"
)

// Records that are sent as one message: as many as are there.
const (
	maxRecords     = 512
	maxRecordBytes = 256 << 10 // of text, if one record is not longer
)

// ReadLogs sends records until there are no more, or, with follow, until the caller
// goes away, takes nothing for too long, or the supervisor has ended. Of what has
// been read and not yet been taken there is one message at most.
func (s *service) ReadLogs(ctx context.Context, w *pb.ReadLogsRequest, stream *connect.ServerStream[pb.ReadLogsResponse]) error {
	received(ctx)
	ids, q, err := decodeQuery(w)
	if err != nil {
		return wireError(err)
	}
	if !s.server.readers.take() {
		return tooBusy(w)
	}
	defer s.server.readers.free()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var sent error
	send := func(m *pb.ReadLogsResponse) {
		if sent != nil {
			return
		}
		s.server.answering(ctx)
		if sent = stream.Send(m); sent != nil {
			enough()
		}
		quiet(ctx)
	}
	batch, size := &pb.ReadLogsResponse{}, 0
	flush := func() {
		if len(batch.Records) > 0 {
			send(batch)
			batch, size = &pb.ReadLogsResponse{}, 0
		}
	}
	q.Begin = func(c capture.Cursor) { send(&pb.ReadLogsResponse{Begin: encodeCursor(c)}) }
	q.Idle = flush
	for r, err := range s.backend.Logs(ctx, ids, q) {
		batch.Records = append(batch.Records, encodeRecord(r, err))
		if size += len(r.Text); size >= maxRecordBytes || len(batch.Records) >= maxRecords {
			flush()
		}
	}
	flush()
	if sent == nil && ctx.Err() != nil {
		return wireError(&messages.Error{Op: "logs", Kind: messages.Timeout, Err: ctx.Err()})
	}
	return sent
}

// Logs is what collectors have written, as in actors.Backend. If the connection
// breaks, it goes on where it was as soon as there is one again, even if another
// supervisor is at its other end by then. If there is none for as long as
// [WithPatience] says, the last error is one that names no collector. Between a
// record and the next the supervisor waits half a minute for who is slow to take
// them, and the client goes on where it was later: so a caller may take as long as
// he likes, and neither he nor the supervisor keeps more than a few messages.
func (c *Client) Logs(ctx context.Context, ids []string, q capture.Query) iter.Seq2[capture.Record, error] {
	return func(yield func(capture.Record, error) bool) {
		ctx, enough := context.WithCancel(ctx)
		defer enough()
		place := capture.Cursor{}
		maps.Copy(place, q.After)
		begun := false
		patience := time.Now().Add(c.patient)
		for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
			stream, err := c.rpc.ReadLogs(ctx, encodeQuery(ids, q))
			for err == nil && stream.Receive() {
				patience, pause = time.Now().Add(c.patient), 50*time.Millisecond
				m := stream.Msg()
				if !begun && len(m.Records) == 0 {
					begun = true
					maps.Copy(place, decodeCursor(m.Begin))
					if q.Begin != nil {
						q.Begin(maps.Clone(place))
					}
				}
				for _, w := range m.Records {
					r, err := decodeRecord(w)
					if err == nil {
						place[r.ID] = r.Position
					}
					if ctx.Err() != nil || !yield(r, err) {
						_ = stream.Close()
						return
					}
				}
				if q.Idle != nil {
					q.Idle()
				}
			}
			if err == nil {
				err = stream.Err()
				_ = stream.Close()
			}
			if err == nil || ctx.Err() != nil {
				return
			}
			if !begun || q.Previous || answered(err) || time.Now().Add(pause).After(patience) {
				yield(capture.Record{}, c.fault(ctx, "logs", "", err))
				return
			}
			q.After, q.Last, q.New = place, 0, false
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// answered reports whether an error is an answer of the supervisor's, and not what
// became of a connection.
func answered(err error) bool {
	var wire *connect.Error
	if !errors.As(err, &wire) || errors.Is(err, actors.ErrNoSupervisor) {
		return false
	}
	if len(wire.Details()) > 0 {
		return wire.Code() != connect.CodeDeadlineExceeded // it was told to go away; it was not said for how long
	}
	switch wire.Code() {
	case connect.CodePermissionDenied, connect.CodeUnauthenticated, connect.CodeUnimplemented, connect.CodeInvalidArgument:
		return true
	}
	return false
}
