"""Everything between an event and a pixel, in the order in which to read it.

`vocabulary` names the 26 engagement types and what an event is; `models` the tables; `stream` the Redis Streams between
the door and the writers; `ingest` the door; `aggregate` the one statement that counts; `query` what can be asked;
`present` pages, charts, live frames, exports and the JSON API; `tasks` the timetable; `demo` a believable brand.
"""
