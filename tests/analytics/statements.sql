-- Statements of analytics, separated by empty lines. The first line says what each is about; marks after it:
-- @ratelimits: of `analytics.getRatelimits`. @only: ClickHouse itself refuses it or means something else by it.
-- @ordered: rows come in this order. A line `-- means:` has what ClickHouse is asked instead.

-- Counts verifications.
SELECT COUNT(*) as total FROM key_verifications_v1

-- Sums an aggregate by outcome, with an alias that shadows the column.
SELECT outcome, SUM(count) as count FROM key_verifications_per_day_v1 GROUP BY outcome ORDER BY count DESC, outcome

-- Counts one outcome.
SELECT sumIf(count, outcome = 'VALID') AS valid, sumIf(count, outcome != 'VALID') AS refused FROM key_verifications_per_hour_v1

-- Sums by CASE.
SELECT SUM(CASE WHEN outcome = 'VALID' THEN count ELSE 0 END) AS valid, SUM(count) AS total FROM key_verifications_per_day_v1

-- A rate in percent.
SELECT round(countIf(outcome = 'VALID') / count(*) * 100, 2) AS rate FROM key_verifications_v1

-- Groups by an alias.
SELECT toStartOfHour(time) AS hour, SUM(count) AS total FROM key_verifications_per_minute_v1 GROUP BY hour ORDER BY hour

-- @ordered An alias of the time of an aggregate.
SELECT time as date, SUM(count) AS verifications FROM key_verifications_per_day_v1 WHERE time >= today() - INTERVAL 30 DAY GROUP BY date ORDER BY date

-- Tags: has.
SELECT count() AS n FROM key_verifications_v1 WHERE has(tags, 'path=/v1')

-- Tags: hasAny.
SELECT count() AS n FROM key_verifications_v1 WHERE hasAny(tags, ['path=/v1', 'region=eu'])

-- Tags: hasAll.
SELECT count() AS n FROM key_verifications_v1 WHERE hasAll(tags, ['path=/v1', 'region=eu'])

-- Tags unfolded.
SELECT arrayJoin(tags) as tag, count() AS n FROM key_verifications_v1 GROUP BY tag ORDER BY n DESC, tag

-- Tags unfolded and filtered by a lambda.
SELECT arrayJoin(arrayFilter(x -> startsWith(x, 'path='), tags)) AS path, COUNT(*) AS n FROM key_verifications_v1 GROUP BY path ORDER BY path

-- An array of a group.
SELECT key_id, groupArray(DISTINCT outcome) AS outcomes FROM key_verifications_v1 GROUP BY key_id ORDER BY key_id

-- A list, and a text that is not empty.
SELECT external_id, count() AS n FROM key_verifications_v1 WHERE outcome IN ('VALID', 'RATE_LIMITED') AND external_id != '' GROUP BY external_id ORDER BY external_id

-- From the start of the month.
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time >= toStartOfMonth(now())

-- A named query and an outer select.
WITH daily AS (SELECT toDate(time) AS day, SUM(count) AS n FROM key_verifications_per_hour_v1 GROUP BY day) SELECT avg(n) AS average, max(n) AS most FROM daily

-- @ordered Gaps of hours filled.
SELECT toStartOfHour(time) AS t, SUM(count) AS n FROM key_verifications_per_minute_v1 GROUP BY t ORDER BY t WITH FILL FROM toStartOfHour(now() - INTERVAL 24 HOUR) TO toStartOfHour(now()) STEP INTERVAL 1 HOUR

-- A quantile.
SELECT round(quantile(0.99)(latency), 6) AS p99, round(quantile(0.5)(latency), 6) AS p50 FROM key_verifications_v1

-- Comments at line ends.
SELECT outcome, -- what was decided
       count() AS n /* how often */
FROM key_verifications_v1 -- every one of them
GROUP BY outcome ORDER BY outcome

-- @only The time of a raw table beside a DateTime: both are instants.
-- means: SELECT count() AS n FROM key_verifications_v1 WHERE time >= toUnixTimestamp64Milli(toDateTime64(now() - INTERVAL 7 DAY, 3))
SELECT count() AS n FROM key_verifications_v1 WHERE time >= now() - INTERVAL 7 DAY

-- The same in milliseconds.
SELECT count() AS n FROM key_verifications_v1 WHERE time >= toUnixTimestamp64Milli(now64() - INTERVAL 7 DAY)

-- @only The time of an aggregate beside milliseconds.
-- means: SELECT SUM(count) AS n FROM key_verifications_per_hour_v1 WHERE time >= toDateTime(1795348800)
SELECT SUM(count) AS n FROM key_verifications_per_hour_v1 WHERE time >= 1795348800000

-- @only The time of a day beside milliseconds that are within a day.
-- means: SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE toUnixTimestamp(toDateTime(time)) * 1000 > 1795348800001 AND toUnixTimestamp(toDateTime(time)) * 1000 < 1795910400000
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time > 1795348800001 AND time < 1795910400000

-- @only A text beside the time of a raw table.
-- means: SELECT count() AS n FROM key_verifications_v1 WHERE fromUnixTimestamp64Milli(time) >= '2026-11-20' AND fromUnixTimestamp64Milli(time) < '2026-11-28 12:00:00'
SELECT count() AS n FROM key_verifications_v1 WHERE time >= '2026-11-20' AND time < '2026-11-28 12:00:00'

-- A text beside a DateTime.
SELECT SUM(count) AS n FROM key_verifications_per_hour_v1 WHERE time >= '2026-11-20 00:00:00'

-- A text beside a Date.
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time = '2026-11-20'

-- @only A text with a time of day beside a Date.
-- means: SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE toDateTime(time) >= '2026-11-20 10:00:00'
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time >= '2026-11-20 10:00:00'

-- A Date beside a DateTime.
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time >= now() - INTERVAL 10 DAY

-- A DateTime beside a Date.
SELECT SUM(count) AS n FROM key_verifications_per_hour_v1 WHERE time >= today() - 3

-- BETWEEN of times.
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time BETWEEN '2026-11-10' AND '2026-11-20'

-- @only BETWEEN of a raw time.
-- means: SELECT count() AS n FROM key_verifications_v1 WHERE fromUnixTimestamp64Milli(time) BETWEEN now() - INTERVAL 14 DAY AND now() - INTERVAL 7 DAY
SELECT count() AS n FROM key_verifications_v1 WHERE time BETWEEN now() - INTERVAL 14 DAY AND now() - INTERVAL 7 DAY

-- NOT BETWEEN of numbers.
SELECT count() AS n FROM key_verifications_v1 WHERE spent_credits NOT BETWEEN 1 AND 3

-- Dates in a list.
SELECT SUM(count) AS n FROM key_verifications_per_day_v1 WHERE time IN ('2026-11-10', '2026-11-11')

-- @only Periods of the raw time, which is in milliseconds.
-- means: SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, count() AS n FROM key_verifications_v1 GROUP BY day
SELECT toStartOfDay(time) AS day, count() AS n FROM key_verifications_v1 GROUP BY day ORDER BY day

-- Periods of the raw time, converted.
SELECT toStartOfDay(fromUnixTimestamp64Milli(time)) AS day, count() AS n FROM key_verifications_v1 GROUP BY day ORDER BY day

-- All periods of a DateTime.
SELECT DISTINCT toStartOfMinute(time) AS a, toStartOfHour(time) AS b, toStartOfDay(time) AS c, toStartOfWeek(time) AS d, toStartOfWeek(time, 1) AS e, toStartOfMonth(time) AS f, toStartOfQuarter(time) AS g, toStartOfYear(time) AS h FROM key_verifications_per_minute_v1 ORDER BY a

-- Periods of a Date.
SELECT DISTINCT toStartOfDay(time) AS c, toStartOfWeek(time) AS d, toStartOfWeek(time, 1) AS e, toStartOfMonth(time) AS f, toStartOfQuarter(time) AS g, toStartOfYear(time) AS h FROM key_verifications_per_day_v1 ORDER BY c

-- Periods of a DateTime64.
SELECT DISTINCT toStartOfMinute(t) AS a, toStartOfHour(t) AS b, toStartOfDay(t) AS c, toStartOfWeek(t) AS d, toStartOfMonth(t) AS e, toStartOfYear(t) AS f FROM (SELECT fromUnixTimestamp64Milli(time) AS t FROM key_verifications_v1) ORDER BY a

-- date_trunc of a DateTime.
SELECT DISTINCT date_trunc('minute', time) AS a, date_trunc('hour', time) AS b, date_trunc('day', time) AS c, date_trunc('week', time) AS d, date_trunc('month', time) AS e, date_trunc('quarter', time) AS f, date_trunc('year', time) AS g FROM key_verifications_per_minute_v1 ORDER BY a

-- @only date_trunc of a second of a DateTime64, which is a DateTime here.
-- means: SELECT toDateTime(1795955696) AS s FROM key_verifications_v1 LIMIT 1
SELECT date_trunc('second', fromUnixTimestamp64Milli(1795955696789)) AS s FROM key_verifications_v1 LIMIT 1

-- Formats of times.
SELECT DISTINCT formatDateTime(time, '%Y-%m-%d %H:%i:%S %y %e %j %u %w %a %b %Q %I %p %F %T %R %%') AS text FROM key_verifications_per_hour_v1 ORDER BY text

-- Conversions of times to text.
SELECT DISTINCT toString(time) AS a, toString(toDate(time)) AS b, toString(toDateTime64(time, 3)) AS c FROM key_verifications_per_hour_v1 ORDER BY a

-- Conversions between times.
SELECT DISTINCT toDate(time) AS a, toDateTime(toDate(time)) AS b, toDateTime64(time, 3) AS c, toUnixTimestamp(time) AS d, toUnixTimestamp64Milli(toDateTime64(time, 3)) AS e FROM key_verifications_per_hour_v1 ORDER BY a, b, c, d LIMIT 5

-- @only Conversions of the raw time.
-- means: SELECT toDate(fromUnixTimestamp64Milli(time)) AS a, toDateTime(fromUnixTimestamp64Milli(time)) AS b FROM key_verifications_v1 ORDER BY request_id LIMIT 3
SELECT toDate(time) AS a, toDateTime(time) AS b FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- Seconds of the raw time.
SELECT toDateTime(time / 1000) AS a, toDate(toDateTime(time / 1000)) AS b FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- Constants of time.
SELECT now() AS a, today() AS b, now64() AS c, now64(3) AS d, toDate('2026-02-28') AS e, toDateTime('2026-02-28 01:02:03') AS f, toDateTime64('2026-02-28 01:02:03.456', 3) AS g FROM key_verifications_v1 LIMIT 1

-- Intervals of all units beside a DateTime.
SELECT now() + toIntervalSecond(5) AS a, now() - toIntervalMinute(5) AS b, now() + toIntervalHour(5) AS c, now() - toIntervalDay(5) AS d, now() + toIntervalWeek(5) AS e, now() - toIntervalMonth(5) AS f, now() + toIntervalQuarter(5) AS g, now() - toIntervalYear(5) AS h, now() + toIntervalMillisecond(5) AS i FROM key_verifications_v1 LIMIT 1

-- Months keep within their days.
SELECT toDate('2026-01-31') + INTERVAL 1 MONTH AS a, toDate('2024-02-29') + INTERVAL 1 YEAR AS b, toDateTime('2026-03-31 10:00:00') - INTERVAL 1 MONTH AS c FROM key_verifications_v1 LIMIT 1

-- Hours of a Date make a DateTime.
SELECT time + INTERVAL 6 HOUR AS a, time - 1 AS b, time + INTERVAL 2 WEEK AS c FROM key_verifications_per_day_v1 ORDER BY a LIMIT 3

-- Intervals that are computed.
SELECT now() - toIntervalDay(spent_credits) AS a FROM key_verifications_v1 ORDER BY request_id LIMIT 5

-- Differences of times.
SELECT max(time) - min(time) AS seconds FROM key_verifications_per_hour_v1

-- Differences of days.
SELECT max(time) - min(time) AS days FROM key_verifications_per_day_v1

-- Seconds added as a number.
SELECT now() - 3600 AS a, today() - 7 AS b FROM key_verifications_v1 LIMIT 1

-- @only An interval beside the raw time.
-- means: SELECT fromUnixTimestamp64Milli(max(time)) + INTERVAL 1 DAY AS a FROM key_verifications_v1
SELECT max(time) + INTERVAL 1 DAY AS a FROM key_verifications_v1

-- Numbers: precedence and types.
SELECT 1 + 2 * 3 AS a, (1 + 2) * 3 AS b, 7 / 2 AS c, 7 % 3 AS d, -7 % 3 AS e, 2 - 3 AS f, 1.5 + 1 AS g FROM key_verifications_v1 LIMIT 1

-- Division by zero, and what is no number.
SELECT 1 / 0 AS a, -1 / 0 AS b, 0 / 0 AS c FROM key_verifications_v1 LIMIT 1

-- Averages of nothing.
SELECT avg(latency) AS a, sum(spent_credits) AS b, count() AS c, max(spent_credits) AS d, min(outcome) AS e, any(outcome) AS f, quantile(0.5)(latency) AS g, uniq(key_id) AS h, groupArray(outcome) AS i FROM key_verifications_v1 WHERE outcome = 'NOTHING'

-- Groups of nothing.
SELECT outcome, count() AS n FROM key_verifications_v1 WHERE key_id = 'nobody' GROUP BY outcome

-- Big integers.
SELECT 9223372036854775807 AS a, -9223372036854775808 AS b, 18446744073709551615 AS c, 9007199254740993 AS d FROM key_verifications_v1 LIMIT 1

-- Big integers compared.
SELECT count() AS n FROM key_verifications_v1 WHERE time < 9223372036854775807 AND time < 18446744073709551615 AND time > -9223372036854775808

-- Integers that are summed over their width stay exact.
SELECT sum(toInt64(4611686018427387904)) AS a FROM (SELECT 1 AS one FROM key_verifications_v1 LIMIT 1)

-- Rounding.
SELECT round(2.5) AS a, round(3.5) AS b, round(-2.5) AS c, round(1234.567, 1) AS d, round(1234.567, -2) AS e, round(25, -1) AS f, floor(1.7) AS g, ceil(1.2) AS h, floor(-1.25, 1) AS i, ceil(1.25, 1) AS j, abs(-5) AS k, abs(-2.5) AS l FROM key_verifications_v1 LIMIT 1

-- Conversions of numbers.
SELECT toInt64('12') AS a, toInt32(7.9) AS b, toFloat64('1.5') AS c, toString(12) AS d, toString(1.5) AS e, toInt64(-1.9) AS f, toFloat64(3) AS g, toString(1e21) AS h FROM key_verifications_v1 LIMIT 1

-- CAST and its short form.
SELECT CAST(spent_credits AS String) AS a, spent_credits::Float64 AS b, '12'::Int64 AS c, CAST('2026-11-01' AS Date) AS d, '2026-11-01 10:00:00'::DateTime AS e, CAST(latency AS Int64) AS f FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- Texts.
SELECT lower('AbÄ') AS a, upper('abä') AS b, substring('hello', 2, 3) AS c, substring('hello', -3) AS d, concat('a', 'b', 'c') AS e, 'a' || 'b' AS f, length('hé') AS g, trim('  x ') AS h, startsWith('hello', 'he') AS i, endsWith('hello', 'lo') AS j FROM key_verifications_v1 LIMIT 1

-- Texts with odd letters.
SELECT 'it''s' AS a, 'back\\slash' AS b, 'tab\there' AS c, 'ünï 🦀' AS d, 'quo\'te' AS e FROM key_verifications_v1 LIMIT 1

-- Parts of keys and identifiers.
SELECT substring(key_id, 1, 5) AS prefix, count() AS n FROM key_verifications_v1 GROUP BY prefix ORDER BY prefix

-- Trimmed at one end.
SELECT trim(LEADING ' ' FROM '  x ') AS a FROM key_verifications_v1 LIMIT 1

-- Texts joined with other types.
SELECT concat(outcome, ':', spent_credits, ':', latency > 1000000) AS a FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- JSON in a text.
SELECT JSONExtractString('{"a":{"b":"c"},"n":1}', 'a', 'b') AS a, JSONExtractString('{"n":1}', 'n') AS b, JSONExtractString('no json', 'x') AS c FROM key_verifications_v1 LIMIT 1

-- Patterns.
SELECT count() AS a, countIf(external_id LIKE 'user\_%') AS b, countIf(external_id NOT LIKE '%1') AS c, countIf(outcome ILIKE 'va%d') AS d FROM key_verifications_v1

-- Conditions as values are 1 and 0.
SELECT outcome = 'VALID' AS ok, count() AS n FROM key_verifications_v1 GROUP BY ok ORDER BY ok

-- Sums of conditions.
SELECT sum(outcome = 'VALID') AS a, avg(outcome = 'VALID') AS b, max(spent_credits > 0) AS c FROM key_verifications_v1

-- if and nested if.
SELECT if(outcome = 'VALID', 'ok', if(outcome = 'RATE_LIMITED', 'slow', 'no')) AS word, count() AS n FROM key_verifications_v1 GROUP BY word ORDER BY word

-- CASE with an operand.
SELECT CASE outcome WHEN 'VALID' THEN 1 WHEN 'RATE_LIMITED' THEN 2 ELSE 3 END AS class, count() AS n FROM key_verifications_v1 GROUP BY class ORDER BY class

-- CASE without ELSE is NULL.
SELECT CASE WHEN outcome = 'VALID' THEN latency END AS a FROM key_verifications_v1 ORDER BY request_id LIMIT 5

-- Aggregates of NULL.
SELECT sum(CASE WHEN outcome = 'NOTHING' THEN 1 END) AS a, count(CASE WHEN outcome = 'VALID' THEN 1 END) AS b, avg(CASE WHEN outcome = 'VALID' THEN spent_credits END) AS c, max(CASE WHEN outcome = 'NOTHING' THEN outcome END) AS d FROM key_verifications_v1

-- NULL in conditions.
SELECT count() AS n FROM key_verifications_v1 WHERE CASE WHEN outcome = 'VALID' THEN 1 END = 1

-- NULL and three-valued logic.
SELECT NULL AND 1 = 0 AS a, NULL OR 1 = 1 AS b, NULL = 1 AS c, NULL IS NULL AS d, 1 IS NOT NULL AS e FROM key_verifications_v1 LIMIT 1

-- coalesce.
SELECT coalesce(NULL, CASE WHEN outcome = 'VALID' THEN outcome END, 'other') AS a, count() AS n FROM key_verifications_v1 GROUP BY a ORDER BY a

-- @ordered NULLs in an order.
SELECT CASE WHEN spent_credits > 2 THEN spent_credits END AS a, request_id FROM key_verifications_v1 ORDER BY a DESC, request_id LIMIT 100

-- @ordered NULLs first.
SELECT CASE WHEN spent_credits > 2 THEN spent_credits END AS a, request_id FROM key_verifications_v1 ORDER BY a ASC NULLS FIRST, request_id LIMIT 100

-- NULL as a key of groups.
SELECT CASE WHEN spent_credits > 2 THEN spent_credits END AS a, count() AS n FROM key_verifications_v1 GROUP BY a ORDER BY a

-- Lists with NULL.
SELECT count() AS n FROM key_verifications_v1 WHERE outcome IN ('VALID', NULL)

-- A list of one, an array, a list of numbers.
SELECT countIf(outcome IN ('VALID')) AS a, countIf(outcome IN ['VALID', 'DISABLED']) AS b, countIf(spent_credits IN (1, 2, -3)) AS c, countIf(outcome NOT IN ('VALID')) AS d FROM key_verifications_v1

-- A subquery in IN.
SELECT count() AS n FROM key_verifications_v1 WHERE key_id IN (SELECT key_id FROM key_verifications_v1 WHERE outcome = 'DISABLED')

-- NOT IN of a subquery, GLOBAL IN.
SELECT countIf(key_id NOT IN (SELECT key_id FROM key_verifications_v1 WHERE outcome = 'DISABLED')) AS a, countIf(key_id GLOBAL IN (SELECT key_id FROM key_verifications_v1 WHERE outcome = 'EXPIRED')) AS b FROM key_verifications_v1

-- A scalar subquery.
SELECT count() AS n, (SELECT max(latency) FROM key_verifications_v1) AS most FROM key_verifications_v1 WHERE latency > (SELECT avg(latency) FROM key_verifications_v1)

-- A scalar subquery of no row.
SELECT (SELECT outcome FROM key_verifications_v1 WHERE outcome = 'NOTHING') AS a FROM key_verifications_v1 LIMIT 1

-- HAVING.
SELECT key_id, count() AS n FROM key_verifications_v1 GROUP BY key_id HAVING n > 20 AND countIf(outcome = 'VALID') > 5 ORDER BY key_id

-- @ordered Top five with error rates.
SELECT key_id, count() AS total, countIf(outcome != 'VALID') / total AS error_rate FROM key_verifications_v1 GROUP BY key_id ORDER BY total DESC, key_id LIMIT 5

-- Groups by positions.
SELECT outcome, source, count() FROM key_verifications_v1 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2

-- Groups by an expression that is repeated.
SELECT substring(outcome, 1, 1), count() FROM key_verifications_v1 GROUP BY substring(outcome, 1, 1) ORDER BY substring(outcome, 1, 1)

-- An expression of a key.
SELECT concat(outcome, '!') AS shout, count() AS n FROM key_verifications_v1 GROUP BY outcome ORDER BY shout

-- Columns without alias.
SELECT count(*), sum(spent_credits), max(latency) > 1, outcome, sum(spent_credits) + 1, countIf(outcome = 'VALID'), quantile(0.5)(latency) FROM key_verifications_v1 GROUP BY outcome ORDER BY outcome

-- Aliases that build on each other.
SELECT spent_credits AS a, a + 1 AS b, b * 2 AS c FROM key_verifications_v1 WHERE c > 4 ORDER BY request_id, c LIMIT 5

-- Aliases that swap columns.
SELECT key_id AS outcome, outcome AS key_id FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- An alias that hides a column everywhere.
SELECT spent_credits % 2 AS spent_credits, count() AS n FROM key_verifications_v1 GROUP BY spent_credits ORDER BY spent_credits

-- A qualified name means the column.
SELECT v.spent_credits + 100 AS spent_credits FROM key_verifications_v1 AS v WHERE v.spent_credits > 1 ORDER BY v.request_id LIMIT 3

-- All aggregates.
SELECT count() AS a, sum(spent_credits) AS b, min(latency) AS c, max(time) AS d, uniqExact(key_id) AS e, uniq(external_id) AS f, groupUniqArray(outcome) AS g, count(DISTINCT key_id) AS h, median(spent_credits) AS i FROM key_verifications_v1

-- Aggregates with conditions.
SELECT countIf(spent_credits > 0) AS a, sumIf(spent_credits, outcome = 'VALID') AS b, avgIf(latency, outcome = 'NOTHING') AS c, minIf(latency, spent_credits > 0) AS d, maxIf(outcome, spent_credits = 0) AS e, uniqIf(key_id, outcome = 'VALID') AS f, uniqExactIf(key_id, outcome = 'VALID') AS g, quantileIf(0.5)(spent_credits, outcome = 'VALID') AS h, groupUniqArrayIf(outcome, spent_credits > 0) AS i FROM key_verifications_v1

-- DISTINCT inside of aggregates.
SELECT sum(DISTINCT spent_credits) AS a, count(DISTINCT outcome) AS b, avg(DISTINCT spent_credits) AS c FROM key_verifications_v1

-- States of latency.
SELECT round(avgMerge(latency_avg), 6) AS a, length(quantilesTDigestMerge(0.99)(latency_p99)) AS b, quantilesTDigestMerge(0.75)(latency_p75)[1] > 0 AS c FROM key_verifications_per_hour_v1

-- States by group, through a subquery.
SELECT outcome, round(avgMerge(s), 6) AS a FROM (SELECT outcome, latency_avg AS s FROM key_verifications_per_day_v1) GROUP BY outcome ORDER BY outcome

-- DISTINCT.
SELECT DISTINCT outcome, source FROM key_verifications_v1 ORDER BY outcome, source

-- @ordered LIMIT and OFFSET.
SELECT request_id FROM key_verifications_v1 ORDER BY request_id LIMIT 3 OFFSET 5

-- @ordered LIMIT with a comma.
SELECT request_id FROM key_verifications_v1 ORDER BY request_id LIMIT 5, 3

-- @ordered Two of each key.
SELECT key_id, request_id FROM key_verifications_v1 ORDER BY key_id, request_id LIMIT 2 BY key_id

-- @ordered The second and third of each key.
SELECT key_id, request_id FROM key_verifications_v1 ORDER BY key_id, request_id LIMIT 1, 2 BY key_id

-- @ordered The same in other words, and a limit of all rows.
SELECT key_id, request_id FROM key_verifications_v1 ORDER BY key_id, request_id LIMIT 2 OFFSET 1 BY key_id LIMIT 3

-- @ordered Two of each key, and some of these.
SELECT key_id, request_id FROM key_verifications_v1 ORDER BY key_id, request_id LIMIT 2 BY key_id LIMIT 2, 3

-- A subquery in FROM.
SELECT max(n) AS most FROM (SELECT key_id, count() AS n FROM key_verifications_v1 GROUP BY key_id)

-- An order that only a limit inside needs.
SELECT sum(spent_credits) AS n FROM (SELECT spent_credits FROM key_verifications_v1 ORDER BY request_id DESC LIMIT 10)

-- An inner join of aggregates.
SELECT a.key_id AS key_id, a.n AS valid, b.n AS refused FROM (SELECT key_id, count() AS n FROM key_verifications_v1 WHERE outcome = 'VALID' GROUP BY key_id) AS a INNER JOIN (SELECT key_id, count() AS n FROM key_verifications_v1 WHERE outcome != 'VALID' GROUP BY key_id) AS b ON a.key_id = b.key_id ORDER BY key_id

-- A left join fills with defaults.
SELECT a.key_id AS key_id, b.n AS n, b.word AS word FROM (SELECT DISTINCT key_id FROM key_verifications_v1) AS a LEFT JOIN (SELECT key_id, count() AS n, max(outcome) AS word FROM key_verifications_v1 WHERE outcome = 'DISABLED' GROUP BY key_id) AS b ON a.key_id = b.key_id ORDER BY key_id

-- A right join with USING.
SELECT key_id, a.n AS n FROM (SELECT key_id, count() AS n FROM key_verifications_v1 WHERE outcome = 'DISABLED' GROUP BY key_id) AS a RIGHT JOIN (SELECT DISTINCT key_id FROM key_verifications_v1) AS b USING (key_id) ORDER BY key_id

-- A full join.
SELECT a.k AS left_key, b.k AS right_key FROM (SELECT DISTINCT key_id AS k FROM key_verifications_v1 WHERE outcome = 'EXPIRED') AS a FULL JOIN (SELECT DISTINCT key_id AS k FROM key_verifications_v1 WHERE outcome = 'DISABLED') AS b ON a.k = b.k ORDER BY left_key, right_key

-- A join with one more condition.
SELECT count() AS n FROM key_verifications_v1 AS a INNER JOIN key_verifications_v1 AS b ON a.key_id = b.key_id AND b.outcome = 'DISABLED' AND a.spent_credits > 1

-- A left join with a condition of the right side.
SELECT count() AS n, countIf(b.outcome = '') AS without FROM key_verifications_v1 AS a LEFT JOIN key_verifications_v1 AS b ON a.request_id = b.request_id AND b.outcome = 'VALID'

-- A cross join.
SELECT count() AS n FROM (SELECT DISTINCT outcome FROM key_verifications_v1) AS a CROSS JOIN (SELECT DISTINCT key_id FROM key_verifications_v1) AS b

-- Sources with a comma.
SELECT count() AS n FROM (SELECT DISTINCT outcome FROM key_verifications_v1) AS a, (SELECT DISTINCT source FROM key_verifications_v1) AS b WHERE a.outcome != b.source

-- A join of three.
SELECT count() AS n FROM key_verifications_v1 AS a INNER JOIN key_verifications_v1 AS b ON a.request_id = b.request_id LEFT JOIN key_verifications_per_day_v1 AS c ON b.key_id = c.key_id AND b.outcome = c.outcome

-- @only In a condition the alias of an aggregate means the column.
-- means: SELECT outcome, SUM(count) AS n FROM key_verifications_per_day_v1 WHERE count > 1 GROUP BY outcome
SELECT outcome, SUM(count) AS count FROM key_verifications_per_day_v1 WHERE count > 1 GROUP BY outcome ORDER BY outcome

-- Everything of a join.
SELECT * FROM (SELECT 1 AS x, 'a' AS y) AS a INNER JOIN (SELECT 1 AS x, 'b' AS z) AS b ON a.x = b.x

-- Everything of a join with USING.
SELECT * FROM (SELECT 1 AS x, 'a' AS y) AS a INNER JOIN (SELECT 1 AS x, 'b' AS z) AS b USING (x)

-- UNION ALL.
SELECT outcome AS word, count() AS n FROM key_verifications_v1 GROUP BY outcome UNION ALL SELECT source, count() FROM key_verifications_v1 GROUP BY source

-- @only UNION DISTINCT of types that differ.
-- means: SELECT toFloat64(spent_credits) AS a FROM key_verifications_v1 UNION DISTINCT SELECT 0.5 FROM key_verifications_v1
SELECT spent_credits AS a FROM key_verifications_v1 UNION DISTINCT SELECT 0.5 FROM key_verifications_v1

-- EXCEPT and INTERSECT.
SELECT key_id FROM key_verifications_v1 EXCEPT DISTINCT SELECT key_id FROM key_verifications_v1 WHERE outcome = 'DISABLED'

-- EXCEPT counts rows.
SELECT outcome FROM key_verifications_v1 EXCEPT SELECT DISTINCT outcome FROM key_verifications_v1

-- INTERSECT.
SELECT key_id FROM key_verifications_v1 WHERE outcome = 'EXPIRED' INTERSECT DISTINCT SELECT key_id FROM key_verifications_v1 WHERE outcome = 'DISABLED'

-- @ordered An order over a union.
SELECT * FROM (SELECT outcome AS word, count() AS n FROM key_verifications_v1 GROUP BY outcome UNION ALL SELECT source, count() FROM key_verifications_v1 GROUP BY source) ORDER BY n DESC, word LIMIT 4

-- Named queries that build on each other.
WITH a AS (SELECT key_id, count() AS n FROM key_verifications_v1 GROUP BY key_id), b AS (SELECT max(n) AS most FROM a) SELECT a.key_id AS key_id FROM a INNER JOIN b ON a.n = b.most ORDER BY key_id

-- @only A named query in a subquery, in any case.
-- means: SELECT count() AS n FROM key_verifications_v1
SELECT n FROM (WITH Inner_Query AS (SELECT count() AS n FROM key_verifications_v1) SELECT n FROM inner_query)

-- @ordered A running sum.
SELECT time, SUM(count) AS n, sum(n) OVER (ORDER BY time) AS running FROM key_verifications_per_day_v1 GROUP BY time ORDER BY time

-- @ordered Windows of all kinds.
SELECT request_id, count() OVER (PARTITION BY key_id) AS a, sum(spent_credits) OVER (PARTITION BY key_id ORDER BY request_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS b, max(latency) OVER () AS c, min(spent_credits) OVER (PARTITION BY outcome ORDER BY time, request_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS d FROM key_verifications_v1 ORDER BY request_id

-- A named window, and a share of the whole.
SELECT outcome, count() AS n, n / sum(n) OVER w AS share FROM key_verifications_v1 GROUP BY outcome WINDOW w AS (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) ORDER BY outcome

-- @ordered Gaps of days filled, with a limit after it.
SELECT time AS day, SUM(count) AS n FROM key_verifications_per_day_v1 WHERE outcome = 'DISABLED' GROUP BY day ORDER BY day WITH FILL STEP 1 LIMIT 12

-- @ordered Gaps of numbers filled.
SELECT spent_credits AS n, count() AS times FROM key_verifications_v1 GROUP BY n ORDER BY n WITH FILL FROM -2 TO 12 STEP 2

-- @ordered Gaps filled from a time that an interval ends.
SELECT toStartOfHour(time) AS t, SUM(count) AS n FROM key_verifications_per_minute_v1 GROUP BY t ORDER BY t WITH FILL FROM toStartOfHour(now()) - INTERVAL 23 HOUR TO toStartOfHour(now()) + INTERVAL 1 + 1 HOUR STEP INTERVAL 1 HOUR

-- @ordered Gaps filled backwards.
SELECT time AS day, SUM(count) AS n FROM key_verifications_per_day_v1 WHERE outcome = 'DISABLED' GROUP BY day ORDER BY day DESC WITH FILL FROM toDate('2026-11-29') TO toDate('2026-11-01') STEP -1

-- Array literals and elements.
SELECT ['a', 'b'][1] AS a, [1, 2, 3][-1] AS b, tags[1] AS c, length(tags) AS d, [1, 2.5] AS e, tags[99] AS f FROM key_verifications_v1 ORDER BY request_id LIMIT 3

-- Lambdas that use a column, and one in another.
SELECT arrayFilter(x -> x != outcome AND length(x) > 3, tags) AS a, arrayFilter(x -> length(arrayFilter(y -> y = x, tags)) > 0, tags) AS b FROM key_verifications_v1 ORDER BY request_id LIMIT 5

-- Groups by whole arrays.
SELECT tags, count() AS n FROM key_verifications_v1 GROUP BY tags ORDER BY n DESC, length(tags), toString(tags[1])

-- arrayJoin in a condition.
SELECT request_id FROM key_verifications_v1 WHERE arrayJoin(tags) = 'path=/v1' ORDER BY request_id LIMIT 5

-- arrayJoin inside of an aggregate.
SELECT uniqExact(arrayJoin(tags)) AS n FROM key_verifications_v1

-- What refused, unfolded.
SELECT arrayJoin(refused_by) AS limit_name, count() AS n FROM key_verifications_v1 GROUP BY limit_name ORDER BY limit_name

-- PREWHERE is a condition like another.
SELECT count() AS n FROM key_verifications_v1 PREWHERE outcome = 'VALID' WHERE spent_credits > 0

-- Everything of the raw table.
SELECT * FROM key_verifications_v1 ORDER BY request_id LIMIT 2

-- @only Everything of an aggregate, which leaves its states out.
-- means: SELECT * EXCEPT (latency_avg, latency_p75, latency_p99) FROM key_verifications_per_month_v1 ORDER BY time, key_id, outcome, tags[1] LIMIT 2
SELECT * FROM key_verifications_per_month_v1 ORDER BY time, key_id, outcome, tags[1] LIMIT 2

-- A condition on the own workspace.
SELECT count() AS n FROM key_verifications_v1 WHERE workspace_id = 'ws_own' OR 1 = 1

-- @only Functions in other cases.
-- means: SELECT countIf(outcome = 'VALID') AS a, uniq(key_id) AS b, toString(1) AS c, JSONExtractString('{"a":"b"}', 'a') AS d FROM key_verifications_v1
SELECT COUNTIF(outcome = 'VALID') AS a, Uniq(key_id) AS b, tostring(1) AS c, JSONEXTRACTSTRING('{"a":"b"}', 'a') AS d FROM key_verifications_v1

-- @ratelimits Raw decisions by namespace.
SELECT namespace_id, namespace, count() AS total, countIf(passed) AS passed FROM ratelimits_v1 GROUP BY namespace_id, namespace ORDER BY namespace_id

-- @ratelimits A Bool is true or false.
SELECT passed, NOT passed AS blocked, passed = true AS one, count() AS n FROM ratelimits_v1 GROUP BY passed ORDER BY passed

-- @ratelimits Conditions of a Bool.
SELECT sum(passed) AS a, avg(passed) AS b, min(passed) AS c, if(any(passed), true, false) AS d, countIf(NOT passed AND tokens > 1) AS e FROM ratelimits_v1

-- @ratelimits Unsigned columns.
SELECT sum(tokens) AS a, max(limit) AS b, min(remaining) AS c, sum(limit - remaining) AS d, max(tokens) * 2 AS e, max(reset_at - time) AS f FROM ratelimits_v1

-- @ratelimits A column that is called like a keyword.
SELECT `limit` AS l, count() AS n FROM ratelimits_v1 WHERE `limit` > 0 GROUP BY l ORDER BY l

-- @ratelimits @only Aggregates of decisions; inside of an aggregate the alias of one means the column.
-- means: SELECT time, SUM(r.total) AS a, SUM(r.passed) AS b, SUM(r.total) - SUM(r.passed) AS c, SUM(total_tokens) AS t, SUM(passed_tokens) AS p FROM ratelimits_per_hour_v1 AS r GROUP BY time
SELECT time, SUM(total) AS total, SUM(passed) AS passed, SUM(total) - SUM(passed) AS blocked, SUM(total_tokens) AS t, SUM(passed_tokens) AS p FROM ratelimits_per_hour_v1 GROUP BY time ORDER BY time

-- @ratelimits Is this limit too low.
SELECT identifier, sum(total) AS asked, sum(total) - sum(passed) AS refused, round(refused / asked * 100, 1) AS percent FROM ratelimits_per_day_v1 GROUP BY identifier HAVING refused > 0 ORDER BY percent DESC, identifier LIMIT 10

-- @ratelimits Latency of a month.
SELECT time, round(avgMerge(latency_avg), 6) AS latency FROM ratelimits_per_month_v1 GROUP BY time ORDER BY time

-- Integers, constants of time and lists that stand beside an alias of a day.
SELECT toDate(time) AS day, SUM(count) AS n FROM key_verifications_per_hour_v1 WHERE day IN ('2026-11-10', '2026-11-12') AND day BETWEEN '2026-11-01' AND today() GROUP BY day ORDER BY day

-- Nothing but a constant of one group, which nobody may forget.
SELECT if(1 = 0, max(latency), 7) AS a FROM key_verifications_v1

-- @ratelimits A Bool among conditions makes a Bool of all.
SELECT DISTINCT passed AND tokens >= 0 AS a, tokens >= 0 AND limit > 0 AS b FROM ratelimits_v1 ORDER BY a

-- Backslashes in texts and patterns.
SELECT countIf(outcome LIKE 'VAL\%') AS a, countIf('axb' LIKE 'a\%b') AS b, countIf('a%b' LIKE 'a\%b') AS c, length('a\%b') AS d, max('a\zb') AS e, max('a\x41b\'') AS f, countIf(outcome LIKE 'VAL%') AS g FROM key_verifications_v1

-- About how many of doubles, of truth values and of arrays.
SELECT uniq(latency) > 100 AS a, uniq(outcome = 'VALID') AS b, uniq(tags) > 5 AS c FROM key_verifications_v1
