{{ config(materialized='table') }}
select customer_id, sum(amount) as amount from {{ source('silver', 'orders') }} where status in ('paid', 'shipped') group by customer_id
