package platform

import (
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

var (
	user32               = windows.NewLazySystemDLL("user32.dll")
	procShowWindow       = user32.NewProc("ShowWindow")
	procGetConsoleWindow = kernel32.NewProc("GetConsoleWindow")
	procGetConsoleCP     = kernel32.NewProc("GetConsoleCP")
	procAllocConsole     = kernel32.NewProc("AllocConsole")
)

// hasConsole reports whether this program is attached to a console.
func hasConsole() bool {
	page, _, _ := procGetConsoleCP.Call()
	return page != 0
}

// allocConsole gives a service, which has no console, one that nobody sees: CTRL_BREAK
// goes through the console that a process shares with whoever sends it. Without one
// its processes cannot be asked to end. Standard files that there are stay what they
// are.
func allocConsole() {
	if service, err := svc.IsWindowsService(); err != nil || !service || hasConsole() {
		return
	}
	var before [3]windows.Handle
	kinds := [3]uint32{windows.STD_INPUT_HANDLE, windows.STD_OUTPUT_HANDLE, windows.STD_ERROR_HANDLE}
	for i, kind := range kinds {
		before[i], _ = windows.GetStdHandle(kind)
	}
	if ok, _, _ := procAllocConsole.Call(); ok == 0 {
		return // they are killed, then
	}
	for i, kind := range kinds {
		_ = windows.SetStdHandle(kind, before[i])
	}
	if window, _, _ := procGetConsoleWindow.Call(); window != 0 {
		_, _, _ = procShowWindow.Call(window, windows.SW_HIDE)
	}
}
