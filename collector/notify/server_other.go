//go:build !linux

package notify

// A Server makes sockets; on this system they cannot be opened.
type Server struct{}

// NewServer returns a server.
func NewServer() *Server { return &Server{} }

// Socket makes a socket, and opens nothing.
func (s *Server) Socket(func(Message)) Socket { return nowhere{} }

type nowhere struct{}

func (nowhere) Address() string           { return "" }
func (nowhere) Open() error               { return ErrNotSupported }
func (nowhere) Attend(func(pid int) bool) {}
func (nowhere) Close()                    {}
