//go:build !linux

package main

import "fmt"

func main() { fmt.Println("the bare loop to compare with needs pidfds: run this on Linux") }
