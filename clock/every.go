package clock

import (
	"context"
	"time"
)

// Every calls do at once, then after each interval of the machine's time, and
// as soon as c was moved, until the context ends. What do finds to be due is
// for c to say: the interval only bounds how late it is found when time passes
// by itself.
func Every(ctx context.Context, c Clock, interval time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		moved := c.Moved() // before do asks for the time
		do(ctx)
		select {
		case <-ctx.Done():
			return
		case <-moved:
		case <-ticker.C:
		}
	}
}
