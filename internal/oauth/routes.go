package oauth

import "slices"

// routes is the one list of everything the server answers.
func (s *Server) routes() []route {
	return slices.Concat(s.clientRoutes(), []route{})
}
