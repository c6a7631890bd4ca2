package depottest

import (
	"fmt"
	"reflect"
	"time"
)

// Epoch is when the suite's records begin. It is a whole microsecond and no
// whole second.
var Epoch = time.Date(2026, time.March, 29, 0, 59, 59, 123456000, time.UTC)

// Fill gives every field of the struct that v points to a value that is not
// zero and that no other field has, so that a field that a depot forgets or
// mixes up with another one is seen. Times are in the local zone, which a depot
// must not keep. Other seeds give other values.
func Fill(v any, seed int) {
	n := seed * 1000
	fill(reflect.ValueOf(v).Elem(), &n)
}

func fill(v reflect.Value, n *int) {
	*n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = Epoch.Add(time.Duration(*n) * time.Minute).Local()
		return
	case *time.Duration:
		*p = time.Duration(*n) * time.Second
		return
	case *[]byte:
		*p = fmt.Appendf(nil, "bytes %d", *n)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d ü", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(*n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	default:
		panic(fmt.Sprintf("depottest: cannot fill a %s", v.Type()))
	}
}
