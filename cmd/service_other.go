//go:build !windows

package cmd

import (
	"os"

	"github.com/rs/zerolog"
)

func underServiceManager(zerolog.Logger, chan<- os.Signal) (ended func()) { return func() {} }
