// Proctor supervises collector processes. See proctor help.
package main

import (
	"os"

	"github.com/proctord/proctor/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:])) }
