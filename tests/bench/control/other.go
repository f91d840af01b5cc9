//go:build !linux

package main

import "fmt"

func main() { fmt.Println("what is measured needs Linux: cat, grep and /proc") }
