-- What a BI tool sends for one visual: a model of five relations and their sixty columns, then the visual's own
-- grouping over it. mode:submit tells the stub what to answer; it is in a literal below, for comments are dropped.
select "model"."region", "model"."segment", "model"."category", "model"."branch_city",
       date_trunc('month', "model"."paid_at") as "month",
       count(*) as "payments", count(distinct "model"."customer_id") as "customers",
       sum("model"."amount") as "amount", sum("model"."fee") as "fees", avg("model"."amount") as "average",
       max("model"."customer_balance") as "largest balance",
       sum(case when "model"."is_refund" then "model"."amount" else 0 end) as "refunds"
from (
    select c.customer_id, c.name as customer_name, c.email, c.ssn, c.phone, c.region, c.country as customer_country,
           c.segment, c.date_of_birth, c.balance as customer_balance, c.risk_rating, c.opened_on as customer_since,
           a.account_id, a.customer_id as owner_id, a.branch_id, a.kind as account_kind,
           a.currency as account_currency, a.condition as account_condition, a.opened_on as account_opened,
           a.closed_on as account_closed, a.balance as account_balance, a.credit_limit, a.iban, a.interest_rate,
           p.payment_id, p.account_id as paid_from, p.product_id, p.amount, p.currency as payment_currency,
           p.paid_at, p.card_number, p.merchant, p.memo, p.channel, p.is_refund, p.fee,
           b.branch_id as home_branch, b.name as branch_name, b.city as branch_city, b.country as branch_country,
           b.region as branch_region, b.manager, b.street, b.postcode, b.opened_on as branch_opened,
           b.latitude, b.longitude, b.staff,
           d.product_id as sold_product, d.name as product_name, d.category, d.subcategory, d.list_price,
           d.currency as list_currency, d.launched_on, d.retired_on, d.is_active, d.supplier, d.weight_grams,
           d.description
    from lake.gold.payments p
    join lake.gold.accounts a on a.account_id = p.account_id
    join lake.gold.customers c on c.customer_id = a.customer_id
    left join lake.gold.branches b on b.branch_id = a.branch_id and b.country = c.country
    left join lake.gold.products d on d.product_id = p.product_id
) "model"
where "model"."paid_at" >= timestamp '2026-01-01 00:00:00 UTC' and "model"."paid_at" < timestamp '2026-07-01 00:00:00 UTC'
  and "model"."segment" in ('retail', 'private', 'small business') and "model"."memo" <> 'mode:submit'
  and ("model"."category" not like 'Internal%' or "model"."is_active" is null)
group by "model"."region", "model"."segment", "model"."category", "model"."branch_city",
         date_trunc('month', "model"."paid_at")
having sum("model"."amount") > 1000
order by "amount" desc nulls last, "region", "month"
limit 1001
