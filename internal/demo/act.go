package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// own is the id of what there is only one of: the person's account, mailbox, calendar.
const own = "own"

// targets says, as the configuration of an enforcement point would, on what each tool acts: a type
// of the schema, and the argument that holds the resource's id, if there is one.
var targets = map[string]struct{ typ, arg string }{
	"get_iban":                     {"Account", ""},
	"get_balance":                  {"Account", ""},
	"get_most_recent_transactions": {"Account", ""},
	"get_scheduled_transactions":   {"Account", ""},
	"send_money":                   {"Account", ""},
	"schedule_transaction":         {"Account", ""},
	"update_scheduled_transaction": {"Account", ""},
	"get_user_info":                {"Profile", ""},
	"get_user_information":         {"Profile", ""},
	"update_password":              {"Profile", ""},
	"update_user_info":             {"Profile", ""},
	"read_file":                    {"File", "file_path"},

	"get_channels":           {"Team", ""},
	"read_channel_messages":  {"Channel", "channel"},
	"get_users_in_channel":   {"Channel", "channel"},
	"send_channel_message":   {"Channel", "channel"},
	"add_user_to_channel":    {"Channel", "channel"},
	"read_inbox":             {"Member", "user"},
	"send_direct_message":    {"Member", "recipient"},
	"invite_user_to_slack":   {"Member", "user"},
	"remove_user_from_slack": {"Member", "user"},
	"get_webpage":            {"WebPage", "url"},
	"post_webpage":           {"WebPage", "url"},

	"get_all_hotels_in_city":                       {"Hotel", ""},
	"get_hotels_prices":                            {"Hotel", ""},
	"get_hotels_address":                           {"Hotel", ""},
	"get_rating_reviews_for_hotels":                {"Hotel", ""},
	"reserve_hotel":                                {"Hotel", "hotel"},
	"get_all_restaurants_in_city":                  {"Restaurant", ""},
	"get_cuisine_type_for_restaurants":             {"Restaurant", ""},
	"get_restaurants_address":                      {"Restaurant", ""},
	"get_rating_reviews_for_restaurants":           {"Restaurant", ""},
	"get_dietary_restrictions_for_all_restaurants": {"Restaurant", ""},
	"get_contact_information_for_restaurants":      {"Restaurant", ""},
	"get_price_for_restaurants":                    {"Restaurant", ""},
	"check_restaurant_opening_hours":               {"Restaurant", ""},
	"reserve_restaurant":                           {"Restaurant", "restaurant"},
	"get_all_car_rental_companies_in_city":         {"CarRental", ""},
	"get_car_types_available":                      {"CarRental", ""},
	"get_rating_reviews_for_car_rental":            {"CarRental", ""},
	"get_car_fuel_options":                         {"CarRental", ""},
	"get_car_rental_address":                       {"CarRental", ""},
	"get_car_price_per_day":                        {"CarRental", ""},
	"reserve_car_rental":                           {"CarRental", "company"},
	"get_flight_information":                       {"Flight", ""},

	"send_email":               {"Mailbox", ""},
	"delete_email":             {"Mailbox", ""},
	"get_unread_emails":        {"Mailbox", ""},
	"get_sent_emails":          {"Mailbox", ""},
	"get_received_emails":      {"Mailbox", ""},
	"get_draft_emails":         {"Mailbox", ""},
	"search_emails":            {"Mailbox", ""},
	"search_contacts_by_name":  {"Mailbox", ""},
	"search_contacts_by_email": {"Mailbox", ""},

	"get_current_day":                 {"Calendar", ""},
	"search_calendar_events":          {"Calendar", ""},
	"get_day_calendar_events":         {"Calendar", ""},
	"create_calendar_event":           {"Calendar", ""},
	"cancel_calendar_event":           {"Calendar", ""},
	"reschedule_calendar_event":       {"Calendar", ""},
	"add_calendar_event_participants": {"Calendar", ""},

	"append_to_file":           {"File", "file_id"},
	"create_file":              {"File", "filename"},
	"delete_file":              {"File", "file_id"},
	"get_file_by_id":           {"File", "file_id"},
	"share_file":               {"File", "file_id"},
	"list_files":               {"File", ""},
	"search_files":             {"File", ""},
	"search_files_by_filename": {"File", ""},
}

// directories are the tools that return names out of the organisation's own directory. The recorder
// of the traces counts the members of a channel among what others can write; here administrators admit
// members, so that a name which is a member's is not a stranger's word.
var directories = map[string]bool{
	"get_users_in_channel":     true,
	"search_contacts_by_name":  true,
	"search_contacts_by_email": true,
}

// An act is one tool call as an enforcement point asks about it.
type act struct {
	action   string
	typ, id  string         // of the resource
	args     map[string]any // the tool's arguments, those that are null left out
	untrusty bool           // others can write what the tool returns
	register bool           // what it returns is the organisation's directory
}

// newAct translates a recorded call. Numbers stay as they were written, but for those of a parameter
// that is an integer: some clients write 10.0 for 10.
func newAct(c Call, t Tool) (act, error) {
	target, ok := targets[c.Tool]
	if !ok {
		return act{}, fmt.Errorf("no resource for tool %q", c.Tool)
	}
	a := act{action: c.Tool, typ: target.typ, id: own, register: directories[c.Tool]}
	a.untrusty = t.Annotation.UntrustedOutput && !a.register
	d := json.NewDecoder(bytes.NewReader(c.Args))
	d.UseNumber()
	if err := d.Decode(&a.args); err != nil {
		return act{}, fmt.Errorf("arguments of %s: %w", c.Tool, err)
	}
	var signature struct {
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(t.Parameters, &signature); err != nil {
		return act{}, fmt.Errorf("parameters of %s: %w", c.Tool, err)
	}
	for name, v := range a.args {
		if v == nil {
			delete(a.args, name)
		}
		if n, ok := v.(json.Number); ok && signature.Properties[name].Type == "integer" {
			a.args[name] = json.Number(strings.TrimSuffix(n.String(), ".0"))
		}
	}
	if s, ok := a.args[target.arg].(string); ok && s != "" {
		a.id = s
	}
	return a, nil
}
