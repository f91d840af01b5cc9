package platform

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
)

// The children that exist on every system.
func init() {
	// exit N
	children["exit"] = func(args []string) int {
		code, _ := strconv.Atoi(args[0])
		return code
	}
	// stay says so and stays.
	children["stay"] = func([]string) int {
		fmt.Println("ready")
		forever()
		return 0
	}
	// quiet stays, and needs nobody to read what it says.
	children["quiet"] = func([]string) int {
		forever()
		return 0
	}
	// obey says what it was asked to do when it is asked to end, and ends with 7.
	children["obey"] = func([]string) int {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked)
		fmt.Println("ready")
		fmt.Println((<-asked).String())
		return 7
	}
	// stubborn does not let itself be asked.
	children["stubborn"] = func([]string) int {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked)
		fmt.Println("ready")
		for s := range asked {
			fmt.Println("no", s)
		}
		return 0
	}
	// parent has a child of its own, which says "ready"; parent then leaves it
	// alone (and stays), or with "leave" goes before it.
	children["parent"] = func(args []string) int {
		c := again("stay")
		if err := c.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 98
		}
		if len(args) > 0 && args[0] == "leave" {
			return 3
		}
		forever()
		return 0
	}
	// where tells where and how it runs.
	children["where"] = func(args []string) int {
		dir, _ := os.Getwd()
		fmt.Printf("%q\n%q\n%q\n", dir, args, os.Getenv("PLATFORM_TEST_VALUE"))
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Println(n, err)
		return 0
	}
	// work runs for a moment, to be seen in the use of resources.
	children["work"] = func([]string) int {
		big := make([]byte, 32<<20)
		sum := 0
		for i := range big {
			big[i] = byte(i)
			sum += int(big[i])
		}
		if sum < 0 { // the sum has to be made
			return 1
		}
		return 0
	}
}

// again is the test binary once more, with the same output.
func again(name string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), childKey+"="+name)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c
}
