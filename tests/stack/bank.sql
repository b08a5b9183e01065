-- A small bank. Every value is computed from a row number, so each load gives the same rows.
-- bronze is as delivered (untidy), silver is cleaned, gold adds what the business reads.
-- No real person, card or social security number is in here: 900 and above is never given out as an SSN.

CREATE SCHEMA IF NOT EXISTS lake.bronze;
CREATE SCHEMA IF NOT EXISTS lake.silver;
CREATE SCHEMA IF NOT EXISTS lake.gold;
CREATE SCHEMA IF NOT EXISTS memory.scratch;

CREATE TABLE lake.bronze.customers AS
WITH raw AS (
    SELECT CAST(n AS bigint) AS id,
           element_at(ARRAY['Anna', 'Bruno', 'Chloe', 'Dmitri', 'Elena', 'Farid', 'Greta', 'Hiro', 'Ines', 'Jonas',
                            'Katya', 'Liam', 'Mei', 'Noor', 'Olga', 'Pedro', 'Rosa'], CAST(n % 17 + 1 AS integer)) AS first,
           element_at(ARRAY['Becker', 'Costa', 'Dubois', 'Eriksen', 'Ferrari', 'García', 'Huang', 'Ivanova', 'Jensen',
                            'Kowalski', 'Lindqvist', 'Müller', 'Nakamura'], CAST(n % 13 + 1 AS integer)) AS last,
           element_at(ARRAY['EU', 'EU', 'US', 'APAC', 'EU', 'US'], CAST(n % 6 + 1 AS integer)) AS region,
           n
    FROM UNNEST(sequence(1, 240)) AS t (n)
)
SELECT id,
       first || ' ' || last AS name,
       -- One customer in twenty gave no address; the source writes some in capitals.
       CASE WHEN n % 20 = 0 THEN NULL
            WHEN n % 9 = 0 THEN upper(first) || '.' || upper(last) || CAST(n AS varchar) || '@EXAMPLE.COM '
            ELSE lower(first) || '.' || lower(last) || CAST(n AS varchar) || '@example.com' END AS email,
       CAST(900 + n % 99 AS varchar) || '-' || lpad(CAST(n * 7 % 100 AS varchar), 2, '0') || '-'
           || lpad(CAST(n * 7919 % 10000 AS varchar), 4, '0') AS ssn,
       region,
       CAST((n * 7919 % 2500000) / 1e2 - 500 AS decimal(12, 2)) AS balance,
       date_add('day', n * 89 % 19000, DATE '1950-01-15') AS date_of_birth
FROM raw;

CREATE TABLE lake.silver.customers AS
SELECT id, name, lower(trim(email)) AS email, ssn, region, balance, date_of_birth FROM lake.bronze.customers;

CREATE TABLE lake.gold.customers AS SELECT * FROM lake.silver.customers;

CREATE TABLE lake.bronze.orders AS
SELECT CAST(n AS bigint) AS id,
       c.id AS customer_id,
       c.region,
       date_add('minute', n * 1009 % 525600, TIMESTAMP '2025-01-01 00:00:00.000000') AS ordered_at,
       CAST((n * 6421 % 90000 + 499) / 1e2 AS decimal(12, 2)) AS amount,
       element_at(ARRAY['open', 'paid', 'paid', 'paid', 'shipped', 'shipped', 'returned'], CAST(n % 7 + 1 AS integer)) AS status
FROM UNNEST(sequence(1, 900)) AS t (n)
JOIN lake.silver.customers c ON c.id = n * 31 % 240 + 1;

CREATE TABLE lake.silver.orders AS SELECT * FROM lake.bronze.orders;
CREATE TABLE lake.gold.orders AS SELECT * FROM lake.silver.orders;

CREATE TABLE lake.bronze.card_payments AS
SELECT id + 100000 AS id,
       customer_id,
       region,
       '4000' || lpad(CAST(customer_id * 99991 % 1000000 AS varchar), 6, '0') || lpad(CAST(id * 7919 % 1000000 AS varchar), 6, '0') AS card_number,
       amount,
       date_add('minute', 3, ordered_at) AS paid_at
FROM lake.silver.orders
WHERE status <> 'open';

CREATE TABLE lake.silver.card_payments AS SELECT * FROM lake.bronze.card_payments;
CREATE TABLE lake.gold.card_payments AS SELECT * FROM lake.silver.card_payments;

CREATE TABLE lake.gold.region_revenue AS
SELECT region, date_trunc('month', ordered_at) AS month, count(*) AS orders, sum(amount) AS amount
FROM lake.silver.orders WHERE status <> 'returned' GROUP BY 1, 2;

CREATE TABLE lake.gold.customer_value AS
SELECT c.id AS customer_id, c.region, count(o.id) AS orders, coalesce(sum(o.amount), 0) AS spent
FROM lake.silver.customers c LEFT JOIN lake.silver.orders o ON o.customer_id = c.id GROUP BY 1, 2;

-- A view of its definer reads all of the table, whoever asks.
CREATE VIEW lake.gold.customer_directory AS SELECT id, name, email, region FROM lake.silver.customers;

-- Rows within rows, and who may see which of them in a table of its own.
CREATE SCHEMA IF NOT EXISTS lake.regional;
CREATE TABLE lake.regional.readers AS
SELECT * FROM (VALUES ('eva', 'EU'), ('eva', 'APAC'), ('somebody', 'US')) AS t (name, region);
CREATE TABLE lake.regional.branches AS
SELECT CAST(n AS bigint) AS id,
       element_at(ARRAY['EU', 'US', 'APAC', 'LATAM'], CAST(n % 4 + 1 AS integer)) AS region,
       IF(n % 7 <> 0, CAST(ROW('Manager ' || CAST(n AS varchar), '+49 30 ' || CAST(n * 7919 AS varchar),
           ROW('City ' || CAST(n % 5 AS varchar), lpad(CAST(n * 31 AS varchar), 5, '0')))
           AS row(name varchar, phone varchar, address row(city varchar, zip varchar)))) AS contact,
       CAST(ARRAY[ROW('desk', '+49 40 ' || CAST(n * 104729 AS varchar)), ROW('fax', NULL)]
           AS array(row(kind varchar, number varchar))) AS phones
FROM UNNEST(sequence(1, 40)) AS t (n);

-- Rows of no region: the filter of an analyst is neither true nor false on them.
CREATE TABLE lake.regional.notes AS
SELECT * FROM (VALUES (1, 'EU', 'shown'), (2, 'US', 'hidden2'), (3, CAST(NULL AS varchar), 'hidden3')) AS t (id, region, note);

-- Names that a careless rewriter trips over.
CREATE TABLE memory.scratch."Odd Name" AS SELECT 1 AS "select", 'x' AS "Two Words", 'EU' AS region;
CREATE TABLE memory.scratch.customers AS SELECT CAST(1 AS bigint) AS id, 'Nobody' AS name;
