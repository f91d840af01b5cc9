package cmd

import (
	"context"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/messages"
)

func dial(context.Context, string) (connection, error) {
	return connection{}, &messages.Error{Op: "connect", Kind: messages.Internal, Err: actors.ErrNoSupervisor}
}

func defaultAddress() string { return "" }
