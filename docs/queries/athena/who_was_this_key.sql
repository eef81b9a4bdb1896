-- Who was given an access key, for which request it was made, and by which rule. Parameters: the key, twice.
SELECT
    "timestamp",
    event,
    "user",
    role,
    account,
    rule,
    source_ip,
    via,
    request_id,
    minted_by,
    expiration,
    instance,
    seq
FROM records
WHERE
    access_key_id = ?
    OR (event = 'intent' AND request_id IN (SELECT minted_by FROM records WHERE access_key_id = ?))
ORDER BY "timestamp", instance, seq
