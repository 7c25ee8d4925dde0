package millrace

import "millrace/internal/wire"

// Debug writes a line to the host's log, for whoever looks for a fault. The host limits the rate of lines.
func Debug(message string) { wire.Log(wire.Debug, message) }

// Info writes a line for whoever watches.
func Info(message string) { wire.Log(wire.Info, message) }

// Warn writes a line about something that is not as it should be.
func Warn(message string) { wire.Log(wire.Warn, message) }

// Error writes a line about something that failed.
func Error(message string) { wire.Log(wire.Error, message) }
