package api

import "time"

// LabClock is what a lab's clock says.
type LabClock struct {
	Now           time.Time  `json:"now"`
	OffsetSeconds int64      `json:"offset_seconds"` // ahead of the machine's clock
	Frozen        bool       `json:"frozen"`
	ChangedAt     *time.Time `json:"changed_at"` // by the machine's clock
	ChangedBy     *string    `json:"changed_by"`
}
