-- What people tried in AWS with sessions of before, after an operator had revoked them: what was denied, and what went through.
-- Parameter: how many seconds behind the revocation, mostly those of the longest session: 3600.
WITH people AS (
    SELECT DISTINCT "user" AS who, source_identity
    FROM records
    WHERE source_identity IS NOT NULL
),
revoked AS (
    SELECT people.source_identity, from_iso8601_timestamp(records."timestamp") AS since
    FROM records
    INNER JOIN people
        ON records.about IN (people.who, '*')
    WHERE records.event = 'access_revoked'
)
SELECT
    cloudtrail.eventtime,
    revoked.source_identity,
    cloudtrail.eventsource,
    cloudtrail.eventname,
    CASE
        WHEN cloudtrail.errorcode LIKE '%Denied%' OR cloudtrail.errorcode LIKE '%Unauthorized%' THEN 'denied'
        WHEN cloudtrail.errorcode IS NULL THEN 'went through'
        ELSE cloudtrail.errorcode
    END AS outcome,
    cloudtrail.sourceipaddress,
    cloudtrail.useridentity.accesskeyid AS access_key_id
FROM cloudtrail
INNER JOIN revoked
    ON cloudtrail.useridentity.sessioncontext.sourceidentity = revoked.source_identity
WHERE
    date_diff('second', revoked.since, from_iso8601_timestamp(cloudtrail.eventtime)) BETWEEN 0 AND ?
    AND from_iso8601_timestamp(cloudtrail.useridentity.sessioncontext.attributes.creationdate) <= revoked.since
ORDER BY cloudtrail.eventtime, cloudtrail.eventid
