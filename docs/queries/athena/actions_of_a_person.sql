-- What one person did in AWS, and by which request they could. Parameter: the source identity (alice@EXAMPLE.COM).
WITH keys AS (
    SELECT access_key_id, max(role) AS role, max(minted_by) AS minted_by
    FROM records
    WHERE access_key_id IS NOT NULL
    GROUP BY access_key_id
)
SELECT
    cloudtrail.eventtime,
    cloudtrail.eventsource,
    cloudtrail.eventname,
    cloudtrail.errorcode,
    cloudtrail.awsregion,
    cloudtrail.sourceipaddress,
    cloudtrail.recipientaccountid,
    cloudtrail.useridentity.accesskeyid AS access_key_id,
    keys.role,
    keys.minted_by
FROM cloudtrail
LEFT JOIN keys
    ON keys.access_key_id = cloudtrail.useridentity.accesskeyid
WHERE cloudtrail.useridentity.sessioncontext.sourceidentity = ?
ORDER BY cloudtrail.eventtime, cloudtrail.eventid
