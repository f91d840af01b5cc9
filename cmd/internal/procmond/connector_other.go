//go:build !linux

package procmond

import (
	"context"
	"fmt"
	"runtime"
)

// connect fails: only Linux has a process connector.
func (*monitor) connect(context.Context) error {
	return &unavailableError{fmt.Errorf("%s has none", runtime.GOOS)}
}
