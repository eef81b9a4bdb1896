# Example secure environment variable configuration
export ZEROTRUST_AWS_SECRET_KEY=********
export ZEROTRUST_REDIS_PASSWORD=********
export ZEROTRUST_ENCRYPTION_KEY=********
