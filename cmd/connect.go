package cmd

import (
	"cmp"
	"context"

	"github.com/proctord/proctor/actors/control"
)

// dial connects to the supervisor at an address; empty: the usual one.
func dial(ctx context.Context, address string) (connection, error) {
	client, err := control.Dial(ctx, cmp.Or(address, control.DefaultAddress()))
	if err != nil {
		return connection{}, err
	}
	return connection{client.Commands, client}, nil
}

func defaultAddress() string { return control.DefaultAddress() }
