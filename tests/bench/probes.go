//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
)

// listening is the argument with which this program is only what is asked: its
// own work must not be counted.
const listening = "listen"

func listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(l.Addr())
	go func() { // until the one that asks has ended
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		must(err)
		_ = c.Close()
	}
}

// probes measures what a thousand TCP probes a second cost, beside a loop that
// does nothing but connect as often.
func probes() []row {
	const a, second = 100, 10
	self, err := os.Executable()
	must(err)
	child := exec.Command(self, listening)
	stdin, err := child.StdinPipe()
	must(err)
	stdout, err := child.StdoutPipe()
	must(err)
	must(child.Start())
	defer func() { _ = stdin.Close(); _ = child.Wait() }()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	must(err)
	address := strings.TrimSpace(line)

	cfg := sleepers(a)
	for id, c := range cfg.Collectors {
		c.Liveness = config.Probe{TCP: address, Period: time.Second / second}
		cfg.Collectors[id] = c
	}
	_, _, end := supervise("", cfg, nil)
	time.Sleep(time.Second)
	ours := busy(*idle)
	end()

	done := make(chan struct{})
	for i := range a {
		go func() {
			time.Sleep(time.Duration(i) * time.Second / (a * second))
			ticker := time.NewTicker(time.Second / second)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
					if c, err := net.Dial("tcp", address); err == nil {
						_ = c.Close()
					}
				}
			}
		}()
	}
	time.Sleep(time.Second)
	bare := busy(*idle)
	close(done)
	percent := func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
	return []row{{fmt.Sprintf("CPU of %d TCP probes a second", a*second), percent(bare), percent(ours), fmt.Sprintf("%.2f", ours/bare), "5 %", ours > 0.05}}
}

// busy is the share of a processor that this program uses for a while.
func busy(d time.Duration) float64 {
	before, begin := cpu(), time.Now()
	time.Sleep(d)
	return (cpu() - before).Seconds() / time.Since(begin).Seconds()
}
