package toml_test

import (
	"fmt"

	"github.com/proctord/proctor/config/toml"
)

func ExampleParse() {
	_, err := toml.Parse("proctor.toml", []byte(`
[collectors.web]
max_restart = 3
graceful_timeout_seconds = "5s"
restart = "onfailure"
`))
	fmt.Println(err)
	// Output:
	// proctor.toml:3:1: collectors.web.max_restart: unknown key; did you mean "max_restarts"?
	// proctor.toml:4:28: collectors.web.graceful_timeout_seconds: expected a number of seconds, not the string "5s"; write it in seconds, without quotes: 5
	// proctor.toml:5:11: collectors.web.restart: "onfailure" is not a restart mode; did you mean "on-failure"?
}

func ExampleParse_defaults() {
	c, err := toml.Parse("proctor.toml", []byte(`
[collectors.procmond-1]
restart_window_seconds = 0 # every restart counts
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	one := c.WithDefaults().Collectors["procmond-1"]
	fmt.Println(one.Type, one.MaxRestarts, one.GracefulTimeout, one.Autostart)
	// Output: procmond 3 30s true
}
