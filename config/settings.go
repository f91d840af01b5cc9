package config

import (
	"reflect"
	"time"
)

// Settings is how a collector is run, under the keys of a configuration file and
// with values as they stand there: times in seconds, tables as maps, and a zero
// for "none at all" and "for ever". It is for being looked at.
func Settings(c Collector) map[string]any {
	c.Output = c.Output.WithDefaults()
	return settings(reflect.ValueOf(c))
}

func settings(table reflect.Value) map[string]any {
	all := map[string]any{}
	for i := range table.NumField() {
		key := keyOf(table.Type().Field(i))
		if key == "rate_limit" {
			key = "rate_limit_lines_per_second"
		}
		field := table.Field(i)
		if field.Kind() == reflect.Struct && field.IsZero() || // no probe, no limits
			key == "capabilities" && field.IsNil() { // which an empty list is not
			continue
		}
		if value, ok := setting(table.Field(i)); ok {
			all[key] = value
		}
	}
	return all
}

// setting is one value; what is absent has none.
func setting(value reflect.Value) (any, bool) {
	switch v := value.Interface().(type) {
	case time.Duration:
		return max(v, 0).Seconds(), true
	case []StopStep:
		sequence := []any{}
		for i, step := range v {
			if i > 0 {
				sequence = append(sequence, step.After.Seconds())
			}
			sequence = append(sequence, step.Signal)
		}
		return sequence, true
	case Switch:
		return v == On, v != Unsaid
	case ResourceLimits:
		return v.Table(), true
	}
	switch value.Kind() {
	case reflect.Struct:
		return settings(value), true
	case reflect.Int:
		return max(value.Int(), 0), true
	case reflect.Slice:
		if value.IsNil() {
			return []string{}, true
		}
		if value.Type().Elem().Kind() == reflect.Struct {
			list := make([]any, value.Len())
			for i := range list {
				list[i] = settings(value.Index(i))
			}
			return list, true
		}
	case reflect.Map:
		if value.IsNil() {
			return map[string]string{}, true
		}
	case reflect.Pointer:
		if value.IsNil() {
			return nil, false
		}
		return setting(value.Elem())
	case reflect.String:
		return value.String(), true
	}
	return value.Interface(), true
}
