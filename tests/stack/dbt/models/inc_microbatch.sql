{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='ordered_at', batch_size='month', begin='2025-11-01', lookback=1, unique_key='id') }}
select id, customer_id, ordered_at, amount from {{ source('silver', 'orders') }}
