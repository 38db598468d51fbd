-- Which of the events told (by their place, from 1) are stored already.
SELECT told.place FROM unnest(%(instants)s::timestamptz[], %(keys)s::uuid[])
    WITH ORDINALITY AS told (occurred_at, event_key, place)
JOIN metrics_engagementevent known
    ON known.handle_id = %(handle_id)s AND known.occurred_at = told.occurred_at AND known.event_key = told.event_key
