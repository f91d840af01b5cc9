package collector

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
)

// confine says in a spec what cfg keeps the process from, and what it is told in
// secret.
func confine(spec *platform.Spec, cfg config.Collector) {
	spec.Confinement = platform.Confinement{
		Root: cfg.RootDirectory, PrivateTmp: cfg.PrivateTmp,
		ReadOnly: cfg.ReadOnlyPaths, ReadWrite: cfg.ReadWritePaths, Inaccessible: cfg.InaccessiblePaths,
		Capabilities: cfg.Capabilities, Seccomp: cfg.Seccomp, SHA256: cfg.BinarySHA256,
		Required: cfg.ConfinementRequired != config.Off,
	}
	if bits, ok := cfg.UmaskBits(); ok {
		spec.Confinement.Umask = bits
		if bits == 0 {
			spec.Confinement.Umask = -1
		}
	}
	if cfg.NoNewPrivileges != config.Unsaid {
		no := cfg.NoNewPrivileges == config.On
		spec.Confinement.NoNewPrivileges = &no
	}
	spec.KeepFDs = cfg.KeepFds
	for _, name := range slices.Sorted(maps.Keys(cfg.Secrets)) {
		secret := platform.Secret{Env: config.SecretVariable(name)}
		source := cfg.Secrets[name]
		if variable, ok := strings.CutPrefix(source, config.SecretEnv); ok {
			value, there := lookup(spec.Env, variable)
			secret.Read = func() ([]byte, error) {
				if !there {
					return nil, fmt.Errorf("the secret %q: the supervisor has no environment variable %s", name, variable)
				}
				return []byte(value), nil
			}
		} else {
			secret.Read = func() ([]byte, error) { return readSecret(name, source) }
		}
		spec.Secrets = append(spec.Secrets, secret)
	}
	for _, source := range cfg.Secrets { // what it is told in secret is not in its environment
		if variable, ok := strings.CutPrefix(source, config.SecretEnv); ok {
			spec.Env = slices.DeleteFunc(slices.Clone(spec.Env), func(kv string) bool { return key(kv) == variable })
		}
	}
}

func lookup(env []string, variable string) (value string, ok bool) {
	for _, kv := range slices.Backward(env) { // the last one counts
		if key(kv) == variable && len(kv) > len(variable) {
			return kv[len(variable)+1:], true
		}
	}
	return "", false
}

// readSecret reads the file of a secret, and not more than a secret may have.
func readSecret(name, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the secret %q: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, platform.MaxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("the secret %q: %w", name, err)
	}
	return content, nil
}
