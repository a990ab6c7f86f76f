# Nothing in here reaches the internet: AWS's services are endpoints, and a public subnet exists for a public load balancer
# alone. What cannot call out cannot carry data out.
data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:only the first two by name are taken, and new zones are named after them
  state = "available"
}

locals {
  zones     = slice(data.aws_availability_zones.available.names, 0, 2)
  public    = var.compute == "ecs_fargate" ? local.zones : []
  endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
}

resource "aws_vpc" "platform" {
  #checkov:skip=CKV2_AWS_11:nothing leaves the network and security groups name every peer; flow logs would cost more than they tell
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.platform.id
}

resource "aws_subnet" "private" {
  for_each          = { for index, zone in local.zones : zone => index }
  vpc_id            = aws_vpc.platform.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)
  tags              = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.platform.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each       = aws_subnet.private
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.platform.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.private.id]
}

resource "aws_vpc_endpoint" "service" {
  for_each            = toset(local.endpoints)
  vpc_id              = aws_vpc.platform.id
  service_name        = "com.amazonaws.${var.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.member["endpoints"].id]
}

# Only where the gateway's load balancer needs it.
resource "aws_internet_gateway" "public" {
  count  = length(local.public) > 0 ? 1 : 0
  vpc_id = aws_vpc.platform.id
}

resource "aws_subnet" "public" {
  for_each          = { for index, zone in local.public : zone => index + 8 }
  vpc_id            = aws_vpc.platform.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)
  tags              = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_route_table" "public" {
  count  = length(local.public) > 0 ? 1 : 0
  vpc_id = aws_vpc.platform.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.public[0].id
  }
  tags = { Name = "${var.name}-public" }
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}
