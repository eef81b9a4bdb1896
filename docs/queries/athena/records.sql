-- The broker's records, copied as they are (audit-*.jsonl, a JSON object a line) to a folder of a bucket.
CREATE EXTERNAL TABLE records (
    `timestamp` STRING,
    event STRING,
    `user` STRING,
    success BOOLEAN,
    reason STRING,
    action STRING,
    resource STRING,
    role STRING,
    account STRING,
    access_key_id STRING,
    expiration STRING,
    source_identity STRING,
    session_name STRING,
    request_id STRING,
    minted_by STRING,
    rule STRING,
    via STRING,
    origin STRING,
    source_ip STRING,
    about STRING,
    instance STRING,
    seq BIGINT
)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION 's3://BUCKET/zerotrust/audit/'
