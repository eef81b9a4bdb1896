-- Sessions that nobody recorded. Parameter: an expression that the ARNs of the broker's roles match, hops on the way included.
-- A record explains an AssumeRole by the key that it made; on the way, by an intent of the same name, at most a walk of 5 s before,
-- give or take half a minute between the clocks. Of what failed there is no key, and the intent alone explains it.
WITH assumed AS (
    SELECT
        eventid,
        eventtime,
        from_iso8601_timestamp(eventtime) AS happened,
        coalesce(useridentity.arn, useridentity.principalid) AS caller,
        sourceipaddress,
        errorcode,
        json_extract_scalar(requestparameters, '$.roleArn') AS role_arn,
        json_extract_scalar(requestparameters, '$.roleSessionName') AS session_name,
        json_extract_scalar(responseelements, '$.credentials.accessKeyId') AS made
    FROM cloudtrail
    WHERE
        eventsource = 'sts.amazonaws.com'
        AND eventname IN ('AssumeRole', 'AssumeRoleWithWebIdentity')
),
intents AS (
    SELECT session_name, request_id, from_iso8601_timestamp("timestamp") AS asked
    FROM records
    WHERE event = 'intent'
),
handed_out AS (
    SELECT DISTINCT access_key_id
    FROM records
    WHERE access_key_id IS NOT NULL
)
SELECT
    assumed.eventtime,
    assumed.eventid,
    assumed.caller,
    assumed.sourceipaddress,
    assumed.role_arn,
    assumed.session_name,
    assumed.made,
    assumed.errorcode
FROM assumed
LEFT JOIN handed_out
    ON handed_out.access_key_id = assumed.made
LEFT JOIN intents
    ON intents.session_name = assumed.session_name
    AND assumed.happened BETWEEN intents.asked - INTERVAL '31' SECOND AND intents.asked + INTERVAL '35' SECOND
WHERE
    regexp_like(assumed.role_arn, ?)
    AND handed_out.access_key_id IS NULL
    AND intents.request_id IS NULL
ORDER BY assumed.eventtime, assumed.eventid
