package api

import (
	"context"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/notify"
)

// DeliveryAdmin knows what people and programs were told of asks, and what could not be delivered.
// *notify.Notifier is one.
type DeliveryAdmin interface {
	// Deliveries returns up to limit deliveries, newest first; authz.ErrNotFound if there is none of the id q.Before.
	Deliveries(ctx context.Context, q notify.Query, limit int) ([]notify.Delivery, error)
	// Delivery returns one delivery, or authz.ErrNotFound.
	Delivery(ctx context.Context, id string) (notify.Delivery, error)
	// Retry has a dead delivery tried again. authz.ErrConflict: it is not dead.
	Retry(ctx context.Context, actor, why, id string) (notify.Delivery, error)
}

// deliveries returns what knows the deliveries.
func (s *Server) deliveries() (DeliveryAdmin, error) {
	if s.Deliveries == nil {
		return nil, authz.Errorf(authz.ErrNotFound, "nobody is told of asks here")
	}
	return s.Deliveries, nil
}

type listDeliveries struct {
	State  string `query:"state" doc:"only deliveries in this state: waiting, told, moot, or dead, which are those that were given up"`
	Ask    string `query:"ask" doc:"only deliveries about the ask of this id"`
	Before string `query:"before" doc:"begin with the one that is next older than the delivery of this id"`
	Limit  int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

func (s *Server) listDeliveries(r *http.Request, _ *caller.Identity, in listDeliveries) (List[notify.Delivery], error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return List[notify.Delivery]{}, err
	}
	admin, err := s.deliveries()
	if err != nil {
		return List[notify.Delivery]{}, err
	}
	q := notify.Query{Ask: in.Ask, Before: in.Before}
	if in.State != "" {
		if q.State, err = notify.ParseState(in.State); err != nil {
			return List[notify.Delivery]{}, err
		}
	}
	items, err := admin.Deliveries(r.Context(), q, n)
	if err != nil {
		return List[notify.Delivery]{}, err
	}
	list := List[notify.Delivery]{Items: items}
	if len(items) == n {
		list.Next = items[n-1].ID
	}
	return list, nil
}

type deliveryID struct {
	ID string `path:"id" json:"-"`
}

func (s *Server) readDelivery(r *http.Request, _ *caller.Identity, in deliveryID) (notify.Delivery, error) {
	admin, err := s.deliveries()
	if err != nil {
		return notify.Delivery{}, err
	}
	return admin.Delivery(r.Context(), in.ID)
}

type retryDelivery struct {
	ID string `path:"id" json:"-"`
	reason
}

func (s *Server) retryDelivery(r *http.Request, who *caller.Identity, in retryDelivery) (notify.Delivery, error) {
	admin, err := s.deliveries()
	if err != nil {
		return notify.Delivery{}, err
	}
	return admin.Retry(r.Context(), who.Actor(), in.Why, in.ID)
}
